import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cosmos_lidar.cli import main
from cosmos_lidar.clips import Sweep, open_clips
from cosmos_lidar.clips.writers.release import write_release
from cosmos_lidar.families.lidar_tokenizer.autoencode import AutoencodeOptions, autoencode_clip
from cosmos_lidar.models.tokenizer import load_tokenizer
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.viz.point_files import read_ply
from cosmos_lidar.viz.range_map import published_colors
from cosmos_lidar.viz.video import read_video
from tests.commands.conftest import with_a_damaged_clip


def _finite(document: object) -> bool:
    if isinstance(document, dict):
        return all(_finite(value) for value in document.values())
    if isinstance(document, list):
        return all(_finite(value) for value in document)
    return document is not None and (not isinstance(document, float) or np.isfinite(document))


def test_autoencode_writes_everything(release: Path, jit_pair: list[str], tmp_path: Path, capsys):
    tar = release / "lidar" / "a1.tar"
    command = ["autoencode", "--sample_path", str(tar), *jit_pair, "--max_frames", "2", "--device", "cpu"]
    assert main([*command, "--output-root", str(tmp_path), "--output_folder", "run"]) == 0
    out = tmp_path / "run"
    assert "a1: 2 frames, RMSE" in capsys.readouterr().out
    videos = {name: list(read_video(out / name / "a1.mp4")) for name in ("range_map_video", "point_cloud")}
    assert [frame.shape for frame in videos["range_map_video"]] == [(32, 32, 3)] * 2
    assert [frame.shape for frame in videos["point_cloud"]] == [(1440, 1280, 3)] * 2
    assert Image.open(out / "histogram" / "a1.png").size == (800, 480)
    frames = sorted(path.stem for path in (out / "range_map" / "a1").iterdir())
    assert len(frames) == 2
    for frame in frames:
        for kind in ("original", "reconstructed"):
            points = np.load(out / "points" / "a1" / f"{frame}_{kind}.npz")["points"]
            assert points.ndim == 2
            assert len(points)
            np.testing.assert_array_equal(read_ply(out / "points" / "a1" / f"{frame}_{kind}.ply").points, points)
    document = json.loads((out / "metrics" / "a1.json").read_text())
    assert document["metrics"]["frames"] == 2
    assert _finite(document["metrics"]["published"])
    assert len(document["protocol"]["hash"]) == 12
    assert not list(tmp_path.rglob("*.part"))


def shown(folder: Path, frame: int) -> np.ndarray:
    files = sorted((folder / "range_map" / "a1").iterdir())
    return np.asarray(Image.open(files[frame]).convert("RGB"))


def test_range_maps_have_the_published_colors(small_sensor, make_clip, jit_pair: list[str], tmp_path: Path, capsys):
    """Quantiles of what is inside 5 to 100 m in the middle frame, original and reconstruction; all else is gray."""
    plain = make_clip(small_sensor, 3, "a1")
    wide = plain.with_lidar(read_sweep=lambda index: Sweep(range_m=np.maximum(3.0 * plain.range_map(index) - 27.0, 0)))
    write_release(tmp_path / "drives", wide)
    (clip,) = open_clips(tmp_path / "drives")
    words = ["autoencode", "--sample_path", str(tmp_path / "drives" / "lidar" / "a1.tar"), *jit_pair, "--vis_pcd", "0"]
    words += ["--max_frames", "2", "--device", "cpu"]
    options = AutoencodeOptions(format=clip.sensor.format)
    network = load_tokenizer(tuple(Path(word) for word in jit_pair[1::2]))
    frames = list(autoencode_clip(network, clip, options, 2))
    assert main([*words, "--output_root", str(tmp_path / "own")]) == 0
    valid = [frame.reference_m * ((frame.reference_m > 5.1) & (frame.reference_m < 99.9)) for frame in frames]
    middle = np.concatenate((valid[1], frames[1].reconstruction_m))
    near, far = np.quantile(middle[middle > 0], 0.01), np.quantile(middle, 0.99)
    assert 5 <= near < far <= 100
    for number, frame in enumerate(frames):
        both = np.concatenate((valid[number], frame.reconstruction_m))
        colors = published_colors(both, "Spectral", near, far) * 255 + 0.5
        assert np.abs(shown(tmp_path / "own", number) - colors.astype(np.uint8).astype(int)).max() <= 1
    empty = int(0.82 * 255 + 0.5)
    assert ((frames[0].reference_m > 0) & (valid[0] == 0)).any()
    assert (shown(tmp_path / "own", 0)[: len(valid[0])][valid[0] == 0] == empty).all()
    assert main([*words, "--output_root", str(tmp_path / "asked"), "--color_limits", "5", "100"]) == 0
    asked = published_colors(np.concatenate((valid[0], frames[0].reconstruction_m)), "Spectral", 5, 100)
    assert np.abs(shown(tmp_path / "asked", 0) - asked * 255).max() <= 1
    assert main([*words, "--output_root", str(tmp_path / "asked"), "--color_limits", "9", "5"]) == 2
    assert "--color_limits 9 5: expected 0 < NEAR < FAR" in capsys.readouterr().err


def test_autoencode_without_point_video_all_clips(release: Path, jit_pair: list[str], tmp_path: Path):
    command = ["autoencode", "--data", str(release), *jit_pair, "--output_root", str(tmp_path), "--vis_pcd", "0"]
    choices = ["--padding", "published", "--rows-taken", "mean", "--mask", "decoded"]
    assert main([*command, "--max-frames", "1", *choices]) == 0
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"range_map_video", "range_map", "histogram", "points", "metrics"}
    assert {path.stem for path in (tmp_path / "metrics").iterdir()} == {"a1", "b2"}


def test_an_odd_clip_ends_no_work_on_the_others(release: Path, jit_pair: list[str], tmp_path: Path, capsys):
    drives = with_a_damaged_clip(release, tmp_path / "drives")
    command = ["autoencode", "--data", str(drives), *jit_pair, "--output_root", str(tmp_path / "out"), "--vis_pcd", "0"]
    assert main([*command, "--max_frames", "1"]) == 1
    text = capsys.readouterr().out
    assert "a1: skipped: " in text
    assert "1 of 2 clips; 1 skipped" in text
    assert (tmp_path / "out" / "metrics" / "b2.json").is_file()


def test_bfloat16_runs_and_is_told_in_the_protocol(release: Path, jit_pair: list[str], tmp_path: Path):
    command = ["evaluate", "--data", str(release), *jit_pair, "--max_frames", "1", "--output", str(tmp_path / "r.json")]
    assert main([*command, "--tokenizer_dtype", "bfloat16"]) == 0
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["protocol"]["tokenizer_dtype"] == "bfloat16"
    assert _finite(document["pooled"]["published"])


def test_rows_of_the_waymo_lidar_and_of_an_even_fan(release: Path, tokenizer_folder: Path, tmp_path: Path):
    def highest_elevation(*options: str) -> float:
        command = ["autoencode", "--data", str(release), "--clip", "a1", "--max_frames", "1", "--vis_pcd", "0"]
        folder = tmp_path / "_".join(options)
        tokenizer = ["--checkpoint", str(tokenizer_folder / "small_ema.jit")]
        assert main([*command, *tokenizer, *options, "--output_root", str(folder)]) == 0
        points = np.load(next((folder / "points" / "a1").glob("*_original.npz")))["points"]
        return float(np.degrees(np.arcsin(points[:, 2] / np.linalg.norm(points, axis=1))).max())

    assert highest_elevation("--waymo_top") == pytest.approx(np.degrees(0.03849), abs=0.05)
    assert highest_elevation("--uniform_fov", "--fov_max", "7.5") == pytest.approx(7.5, abs=0.05)


@pytest.mark.parametrize(("name", "format"), [("kitti_velodyne", "kitti"), ("nuscenes", "nuscenes")])
def test_real_sweeps(test_data: Path, name: str, format: str, jit_pair: list[str], tmp_path: Path):
    command = ["autoencode", "--data", str(test_data / name), "--format", format, *jit_pair, "--max_frames", "1"]
    assert main([*command, "--output_root", str(tmp_path)]) == 0
    (file,) = (tmp_path / "metrics").iterdir()
    metrics = json.loads(file.read_text())["metrics"]
    assert metrics["published"]["pixels"] > 5000
    assert _finite(metrics["published"])
    assert _finite(metrics["chamfer"])
    for folder in ("range_map_video", "histogram", "point_cloud"):
        assert len(list((tmp_path / folder).iterdir())) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "no tokenizer: give --checkpoint, or both --enc_path and --dec_path"),
        (["--enc_path", "encoder.jit"], "no tokenizer: give --checkpoint, or both"),
        (["--checkpoint", "nowhere.pt"], "no such tokenizer [file nowhere.pt]"),
        (["--checkpoint", "x", "--enc_path", "y"], "exclude each other: give one tokenizer"),
        (["--clip", "zz"], "no such clip [file {release}, clip zz] Expected: one of a1, b2"),
        (["--waymo_top", "--uniform_fov"], "--waymo_top and --uniform_fov exclude each other"),
        (["--uniform_fov", "--fov_min", "5"], "--fov_min 5.0 is not below --fov_max 2.21"),
        (["--sensor", "nonsense"], "unknown sensor 'nonsense'"),
        (["--format", "nonsense"], "unknown format 'nonsense'"),
        (["--baseline", "identity", "--max_frames", "0"], "max_frames is 0"),
        (["--baseline", "identity", "--checkpoint", "x"], "--baseline takes the place of a tokenizer"),
        (["--baseline", "identity", "--device", "cuda:99"], "--device cuda:99: 0 CUDA devices found"),
        (["--baseline", "identity", "--device", "gpu"], "--device gpu: not a device"),
        (["--baseline", "identity", "--min_range", "200"], "range limits 200.0 to 100.0 m"),
        (["--baseline", "identity", "--split", "nowhere.lst"], "[file nowhere.lst] Expected: a text file of clip ids"),
        (["--baseline", "identity", "--downsample_factor_col", "7"], "cannot be merged by 1 x 7"),
    ],
)
def test_wrong_input_is_explained(release: Path, tmp_path: Path, capsys, options: list[str], message: str):
    assert main(["evaluate", "--data", str(release), *options, "--output", str(tmp_path / "out.json")]) == 2
    assert message.format(release=release) in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def test_a_sensor_with_too_few_rows_is_refused(release: Path, tmp_path: Path, capsys):
    sensor = tmp_path / "few_rows.yaml"
    sensor.write_text(uniform_sensor(8, 64, name="few").to_yaml())
    command = ["evaluate", "--data", str(release), "--baseline", "identity", "--sensor", str(sensor)]
    assert main([*command, "--output", str(tmp_path / "out.json")]) == 2
    message = capsys.readouterr().err
    assert "clip a1" in message
    assert "row" in message
    assert not (tmp_path / "out.json").exists()


def test_a_file_that_is_no_tokenizer_is_named(release: Path, tmp_path: Path, capsys):
    junk = tmp_path / "junk.pt"
    junk.write_bytes(b"not a checkpoint")
    command = ["autoencode", "--data", str(release), "--checkpoint", str(junk), "--output_root", str(tmp_path / "out")]
    assert main(command) == 2
    assert str(junk) in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_unknown_colors_and_missing_data_stop_first(release: Path, jit_pair: list[str], tmp_path: Path, capsys):
    out = tmp_path / "out"
    command = ["autoencode", *jit_pair, "--output_root", str(out)]
    assert main([*command, "--data", str(release), "--colormap", "plaid"]) == 2
    assert "unknown color map 'plaid'" in capsys.readouterr().err
    assert main([*command, "--data", str(tmp_path / "nothing")]) == 2
    assert "nothing is there" in capsys.readouterr().err
    assert not out.exists()
