"""The benchmarks run from the command line and print what they promise; how fast this machine is does not matter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cosmos_lidar.clips import find_readers
from cosmos_lidar.clips.convert import find_writers
from tests.workers.client import python, torchrun

FOLDER = Path(__file__).parents[2] / "benchmarks"


def run(program: str, *options: str) -> str:
    done = python(FOLDER / program, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_reliability():
    lines = run("reliability.py", "300", "1").splitlines()
    assert [line.partition(":")[2] for line in lines[:4]] == [" 0 of 300 sound losses refused, 0.0e+00"] * 4
    assert lines[4] == "owners among 8 runs that begin at once: 1 in 1 rounds"


def test_range_maps_as_json():
    """The program itself fails where its two ways of projecting differ."""
    result = json.loads(run("range_maps.py", "--sensors", "nuscenes_hdl32e", "--repeats", "1", "--json"))
    (row,) = result["rows"]
    assert (row["sensor"], row["rows"], row["columns"]) == ("nuscenes_hdl32e", 32, 1088)
    assert row["ratio"] == pytest.approx(row["project"] / row["straightforward"])
    assert all(row[name] > 0 for name in ("unproject", "compensate", "decompensate", "image", "restore"))
    assert "one thread" in result["machine"]


def test_range_maps_as_table():
    lines = run("range_maps.py", "--sensors", "uniform64", "--repeats", "1", "--shuffle").splitlines()
    assert "points in random order" in lines[0]
    assert lines[-1].startswith("| uniform64 | 64 x 1024 | ")
    assert {line.count("|") for line in lines[2:]} == {12}


def test_deskew_as_table():
    lines = run("deskew.py", "--sensor", "uniform64", "--seeds", "1", "--references", "end").splitlines()
    assert lines[2].startswith("| compensated to | projected | pixels lost |")
    assert len(lines) == 4 + 7
    assert {line.count("|") for line in lines[2:]} == {6}


def measured_clips(*options: str) -> dict[str, list[dict]]:
    return json.loads(run("clips.py", "--small", "--frames", "2", "--seconds", "0", "--data", "", "--json", *options))


def test_clips_of_some_formats():
    result = measured_clips("--formats", "kitti", "waymo", "--layouts", "ply")
    rows = {(row["name"], row["what"]): row for row in result["readers"]}
    assert list(rows) == [("kitti", "velodyne"), *(("waymo", what) for what in ("TOP, first returns", "TOP", "FRONT",
                                                                               "image"))]  # fmt: skip
    assert rows["waymo", "TOP"]["points"] > rows["waymo", "TOP, first returns"]["points"] > 400
    assert [(row["name"], row["what"]) for row in result["writers"]] == [("ply", "lidar")]
    assert result["recordings"] == []


@pytest.mark.slow
def test_clips_measures_every_reader_and_writer():
    """Those of the packages, whatever their number; sweeps of the formats that have a recording are not empty."""
    result = measured_clips()
    readers, writers = (frozenset(row["name"] for row in result[kind]) for kind in ("readers", "writers"))
    assert readers == find_readers().keys()
    assert writers == find_writers().keys() | {"shards"}
    for row in result["readers"] + result["writers"]:
        assert min(row["frames_per_s"], row["ratio"], row["megabytes"], row["peak_megabytes"]) > 0, row
        assert row["peak_ratio"] == pytest.approx(row["peak_megabytes"] / row["megabytes"])
        assert row["points"] > 400 or row["what"] == "image" or "small sample" in row["what"], row


@pytest.mark.slow
def test_the_plan_of_many_clips_is_measured():
    result = json.loads(run("clips.py", "--plan", "--small", "--seconds", "0", "--clips", "1000", "--json"))
    assert 0 < result["read_s"]
    assert 0 < result["shard_mb"] < 0.1
    assert dict((what, every) for what, _, every in result["plan"])["source (published: 20 GB per 100 clips)"] == "0 TB"


@pytest.mark.slow
def test_sensor_fit_without_recordings(tmp_path):
    """The lidars that ship stand for those of the recordings."""
    rows = json.loads(run("sensor_fit.py", "--data", str(tmp_path), "--sweeps", "1", "--json"))["rows"]
    assert len(rows) == 10
    for row in rows:
        assert row["found"] in ("128 x 3600", "64 x 2650")
        assert row["errors"]["mean_deg"] < (0.03 if "off by" in row["lidar"] else 0.001)
        assert row["kept"] > 0.98


def test_tokenizer_quick_with_options_beside_it():
    lines = run("tokenizer.py", "--quick", "--channels", "32", "--sizes", "32x64", "--dtypes", "bfloat16",
                "--modes", "eager", "--device", "cpu").splitlines()  # fmt: skip
    assert "CI8x8, resolution 512, 5,068,928 parameters" in lines[0]
    assert lines[-1].startswith("| 32 x 64 | 1 | bfloat16 | eager | ")
    assert len(lines) == 5


@pytest.mark.slow
def test_engine_small():
    """Every table, with the rows that are quick; what cannot run here is told."""
    text = run("engine.py", "--device", "cpu", "--small", "--meshes", "one", "data_replicate=2", "--variants", "eager",
               "te_fp8", "--peak-tflops", "0.5")  # fmt: skip
    titles = ["Meshes", "Recomputation", "Memory given back", "Checkpoint", "Throughput"]
    assert [line.split(":")[0] for line in text.splitlines() if line.split(":")[0] in titles] == titles
    rows = {row[0]: row[1:] for row in (line.strip("| ").split(" | ") for line in text.splitlines() if " | " in line)}
    assert (rows["one"][0], rows["data_replicate 2"][0]) == ("1", "2")
    assert all(float(cell) > 0 for name in ("one", "data_replicate 2", "selective", "full") for cell in rows[name])
    assert all(float(cell) > 0 for tight in (False, True) for cell in rows[f"tight_memory {tight}"])
    assert float(rows["full"][2]) == pytest.approx(float(rows["full"][1]) / float(rows["none"][1]), rel=0.05)
    step_ms, _, tokens_per_s, tflop_per_s, mfu, *_ = rows["eager"]
    assert float(tokens_per_s) == pytest.approx(64e3 / float(step_ms), rel=0.05)
    assert float(mfu.removesuffix(" %")) == pytest.approx(float(tflop_per_s) / 0.5 * 100, abs=0.06)
    assert "Not run here: te_fp8: cpu is no CUDA device" in text


@pytest.mark.slow
def test_engine_tells_which_row_failed():
    done = python(FOLDER / "engine.py", "--device", "cpu", "--small", "--parts", "meshes", "--meshes", "tensor=3")
    assert done.returncode == 1
    assert "| tensor 3 | 3 | failed: " in done.stdout
    assert "parallel.tensor=3 does not divide the 4 heads; valid: 1, 2, 4" in done.stdout


def test_camera_to_lidar_with_training_beside_it():
    lines = run("lidargen.py", "--settings", "ddim:1", "heun:1", "--shapes", "faditv2_debug:6x16:8x10:2",
                "--repeats", "1", "--train", "--batch", "1").splitlines()  # fmt: skip
    sampled = [line.split(" | ") for line in lines if line.startswith("| faditv2_debug | ") and "M |" not in line]
    assert [(row[1], row[2], row[3], row[4]) for row in sampled] == [
        (mode, tokens, sampler, str(count * (2 if mode == "published" else 1)))
        for mode, tokens in (("published", "96"), ("plain", "96"), ("dense", "64"))
        for sampler, count in (("ddim", 2), ("heun", 3))
    ]
    assert lines[-1].startswith("| faditv2_debug | 0.4 M | 1 | ")


@pytest.mark.slow
@pytest.mark.parametrize("row", ["--dryrun", "tensorboard=false"])
def test_startup_rows(row: str):
    """Of a command that only answers, and of the first step of a run."""
    lines = run("startup.py", "--repeats", "1", f"--only={row}").splitlines()
    names = [line.split(" | ")[0] for line in lines if row in line]
    assert len(names) == (2 if row == "--dryrun" else 1)
    assert all(float(cell) > 0 for line in lines[-len(names) :] for cell in line.strip("| ").split(" | ")[1:])


@pytest.mark.slow
def test_stragglers_prints_a_ratio():
    done = torchrun(2, FOLDER / "stragglers.py", "1", env={"STEPS": "6"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("step time with the search for slow ranks over that without: median ")


def test_wan_vae_small():
    lines = run("wan_vae.py", "--dim", "4", "--sizes", "5x32x32", "--modes", "whole", "4", "tile", "--tile", "16",
                "--views", "2", "--batch", "2", "--device", "cpu", "--seams").splitlines()  # fmt: skip
    assert lines[0].startswith("Wan2.1 VAE, width 4, ")
    rows = [line for line in lines if line.startswith("| 5 x 32 x 32 | float32 | 2 of 2 |")]
    assert [row.split("|")[4].strip() for row in rows] == ["whole", "4", "tile"]
    assert rows[0].split("|")[9].strip() == "1.00 / 1.00"
    assert {row.count("|") for row in rows} == {11}
    predicted = run("wan_vae.py", "--predict", "--sizes", "5x704x1280", "--modes", "4", "whole").splitlines()[-2:]
    for row in predicted:
        encode, decode = (float(cell) for cell in row.split("|")[5:7])
        assert encode > 4 * 4 * 96 * 704 * 1280 / 2**30  # the largest activation of four frames
        assert decode > 4 * 4 * 192 * 704 * 1280 / 2**30
    seams = [line.split("|")[4:7] for line in lines if line.startswith("| 5 x 32 x 32 | float32 | 16 |")]
    assert [int(overlap) for overlap, _, _ in seams] == [0, 0, 8]
    assert all(float(error) > 0 and float(psnr) > 0 for _, error, psnr in seams)
