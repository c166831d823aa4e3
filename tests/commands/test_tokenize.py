"""tokenize and reconstruct from the command line: what comes out, what is kept, and what is left out."""

from __future__ import annotations

import csv
import io
import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from cosmos_lidar.cli import main
from cosmos_lidar.clips.footage import Footage, scaled
from cosmos_lidar.clips.video import VideoFile
from cosmos_lidar.families.video_tokenizer.files import find_inputs
from cosmos_lidar.families.video_tokenizer.latent_files import read_encoded
from cosmos_lidar.models.tokenizer import build_tokenizer, export_jit
from cosmos_lidar.viz.video import read_video, write_video


def command(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.mark.parametrize("name", ["CV4x8x8", "DV4x8x8", "CI8x8"])
def test_latents_and_back(name: str, checkpoints: dict[str, Path], videos: Path, tmp_path: Path):
    out, back, direct = tmp_path / "latents", tmp_path / "back", tmp_path / "direct"
    assert command("tokenize", videos, "--checkpoint", checkpoints[name], "--out", out) == 0
    assert sorted(path.stem for path in out.iterdir()) == ["index", "one", "still", "two"]
    encoded, facts = read_encoded(out / "one.safetensors")
    assert (encoded.frames, encoded.height, encoded.width) == (7, 34, 50)
    kind = "indices" if name.startswith("D") else "latents"
    shape = (7, 5, 7) if name == "CI8x8" else (3, 5, 7)
    assert getattr(encoded, kind).shape[-3:] == shape
    assert (facts["tokenizer"], facts["dtype"], facts["source"]) == (name, "float32", "one.mp4")
    with (out / "index.csv").open() as file:
        assert [row["source"].rpartition("/")[2] for row in csv.DictReader(file)] == ["one.mp4", "still.png", "two.mp4"]
    assert command("reconstruct", out, "--checkpoint", checkpoints[name], "--out", back) == 0
    assert command("reconstruct", videos, "--checkpoint", checkpoints[name], "--out", direct) == 0
    ours, theirs = (np.stack(list(read_video(folder / "one.mp4"))) for folder in (back, direct))
    assert ours.shape == (7, 34, 50, 3)
    assert np.abs(ours.astype(int) - theirs).mean() < 3
    assert (direct / "still.png").is_file()
    side = next(iter(read_video(direct / "one_side_by_side.mp4")))
    assert side.shape[1] == 3 * 50
    document = json.loads((direct / "metrics.json").read_text())
    assert {Path(row["source"]).name for row in document["videos"]} == {"one.mp4", "two.mp4", "still.png"}
    low, high = document["mean"]["psnr"]["interval_95"]
    assert low <= document["mean"]["psnr"]["mean"] <= high


def test_what_is_there_is_not_made_again(checkpoints: dict[str, Path], videos: Path, tmp_path: Path, capsys):
    words = ["tokenize", videos, "--checkpoint", checkpoints["CV4x8x8"], "--out", tmp_path / "o"]
    words += ["--cache", tmp_path / "c"]
    assert command(*words) == 0
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "o").glob("*.safetensors")}
    assert command(*words) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "o").glob("*.safetensors")} == times
    words[5] = tmp_path / "other"
    assert command(*words) == 0
    assert "3 from the cache" in capsys.readouterr().out
    for path in times:
        ours, theirs = (read_encoded(folder / path.name)[0] for folder in (tmp_path / "o", tmp_path / "other"))
        assert torch.equal(ours.latents, theirs.latents)
        assert ours.crop == theirs.crop


@pytest.mark.slow
def test_published_flags(checkpoints: dict[str, Path], videos: Path, tmp_path: Path):
    torch.manual_seed(0)
    export_jit(build_tokenizer("CV4x8x8", channels=32, num_res_blocks=1), tmp_path / "jit")
    pair = ["--checkpoint_enc", tmp_path / "jit/encoder.jit", "--checkpoint_dec", tmp_path / "jit/decoder.jit"]
    words = ["--video_pattern", f"{videos}/*.mp4", *pair, "--tokenizer_type", "CV4x8x8", "--output_dir", tmp_path / "o"]
    words += ["--short_size", 24, "--temporal_window", 17, "--output_fps", 12, "--save_input", "--mode", "torch"]
    assert command("reconstruct", *words, "--dtype", "bfloat16", "--device", "cpu") == 0
    assert {path.name for path in (tmp_path / "o").iterdir()} == {
        "one.mp4", "one_input.mp4", "one_side_by_side.mp4", "two.mp4", "two_input.mp4", "two_side_by_side.mp4",
        "metrics.json",
    }  # fmt: skip
    assert next(iter(read_video(tmp_path / "o" / "one.mp4"))).shape == (24, 36, 3)


def test_bad_files_are_named_and_the_others_go_on(checkpoints: dict[str, Path], videos: Path, tmp_path: Path, capsys):
    good = (videos / "one.mp4").read_bytes()
    (videos / "cut.mp4").write_bytes(good[: len(good) // 2])
    (videos / "noise.png").write_bytes(b"noise")
    with av.open(str(videos / "sound.mp4"), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    for name in ("tokenize", "reconstruct"):
        assert command(name, videos, "--checkpoint", checkpoints["CV4x8x8"], "--out", tmp_path / name) == 1
    with (tmp_path / "tokenize" / "index.csv").open() as file:
        problems = {Path(row["source"]).name: row["problem"] for row in csv.DictReader(file) if row["problem"]}
    assert set(problems) == {"cut.mp4", "noise.png", "sound.mp4"}
    assert "no video stream in it" in problems["sound.mp4"]
    assert "not a readable video" in problems["cut.mp4"]
    assert "not a readable image" in problems["noise.png"]
    assert "skipped" in capsys.readouterr().out


def test_an_odd_video_ends_no_work_on_the_others(checkpoints: dict[str, Path], videos: Path, tmp_path: Path, capsys):
    with av.open(str(videos / "odd.mkv"), "w") as box:  # images grow after the fourth
        stream = box.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 50, 34, "yuvj420p", Fraction(1, 10)
        for k in range(8):
            jpeg = io.BytesIO()
            Image.new("RGB", (50, 34) if k < 4 else (66, 50), (k, 0, 0)).save(jpeg, "JPEG")
            packet = av.Packet(jpeg.getvalue())
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, k, k, Fraction(1, 10)
            packet.is_keyframe = True
            box.mux(packet)
    (videos / "._one.mp4").write_bytes(b"Mac OS X")
    common = (videos, "--checkpoint", checkpoints["CV4x8x8"])
    assert command("tokenize", *common, "--out", tmp_path / "latents") == 1
    assert "3 of 4 files" in capsys.readouterr().out
    assert command("reconstruct", *common, "--out", tmp_path / "back", "--no-side-by-side") == 1
    text = capsys.readouterr().out
    assert "3 of 4 files" in text
    assert "odd.mkv: skipped: not a readable video: image 4 is 66 x 50, the first 50 x 34" in text
    assert (tmp_path / "back" / "two.mp4").is_file()


def test_times_of_frames_come_back(checkpoints: dict[str, Path], tmp_path: Path):
    times_s = [0.0, 0.1, 0.2, 0.6, 0.7, 1.5, 1.6, 1.7, 2.5]
    write_video(tmp_path / "a.mp4", [np.full((32, 48, 3), 9 * k, np.uint8) for k in range(9)], times_s=times_s)
    common = ("--checkpoint", checkpoints["CV4x8x8"], "--out")
    assert command("tokenize", tmp_path / "a.mp4", *common, tmp_path / "latents") == 0
    for number, source in enumerate((tmp_path / "a.mp4", tmp_path / "latents" / "a.safetensors")):
        assert command("reconstruct", source, *common, tmp_path / f"back{number}", "--no-side-by-side") == 0
        assert np.allclose(VideoFile(tmp_path / f"back{number}" / "a.mp4").times_s(), times_s, atol=1e-3)
    assert command("reconstruct", tmp_path / "a.mp4", *common, tmp_path / "even", "--no-side-by-side", "--fps", 5) == 0
    assert np.allclose(np.diff(VideoFile(tmp_path / "even" / "a.mp4").times_s()), 0.2)


def test_a_checkpoint_of_another_family_and_other_mistakes(
    checkpoints: dict[str, Path], videos: Path, tmp_path: Path, capsys
):
    out = ["--out", tmp_path / "o"]
    assert command("tokenize", videos / "one.mp4", "--checkpoint", checkpoints["CV4x8x8"], *out) == 0
    latents = tmp_path / "o" / "one.safetensors"
    assert command("reconstruct", latents, "--checkpoint", checkpoints["DV4x8x8"], *out) == 1
    assert "continuous latents Expected: indices, for a DV tokenizer" in capsys.readouterr().out
    words = {
        "no input: give videos": ["--checkpoint", checkpoints["CV4x8x8"], *out],
        "no tokenizer: give --checkpoint": [videos, *out],
        "no images, videos or latents": [tmp_path / "empty/*.mp4", "--checkpoint", checkpoints["CV4x8x8"], *out],
        "--tokenizer_type DV4x8x8: the checkpoint has family CV": [
            videos, "--checkpoint", checkpoints["CV4x8x8"], "--tokenizer_type", "DV4x8x8", *out],
        "tile 8: at least 1": [videos, "--checkpoint", checkpoints["CV4x8x8"], "--tile", "8", *out],
        "nowhere/at-all": [videos, "--checkpoint", "nowhere/at-all", *out],
    }  # fmt: skip
    for message, rest in words.items():
        assert command("tokenize", *rest) == 2
        assert message in capsys.readouterr().err
    (tmp_path / "broken.safetensors").write_bytes(latents.read_bytes()[:60])
    assert command("reconstruct", tmp_path / "broken.safetensors", "--checkpoint", checkpoints["CV4x8x8"], *out) == 1
    assert "cosmos-lidar tokenize" in capsys.readouterr().out


def test_sizes_by_the_short_side():
    assert scaled(np.zeros((1, 34, 50, 3), np.uint8), 24).shape == (1, 24, 36, 3)  # 35.3, rounded, made even
    assert scaled(np.zeros((1, 50, 34, 3), np.uint8), 24).shape == (1, 36, 24, 3)
    assert scaled(np.zeros((1, 720, 1280, 3), np.uint8), 360).shape == (1, 360, 640, 3)


@pytest.mark.slow
def test_real_driving_video(checkpoints: dict[str, Path], test_data: Path, tmp_path: Path):
    words = ["--checkpoint", checkpoints["CV4x8x8"], "--out", tmp_path, "--short-size", 64]
    assert command("reconstruct", test_data / "video" / "solidWhiteRight.mp4", *words) == 0
    (row,) = json.loads((tmp_path / "metrics.json").read_text())["videos"]
    assert (row["frames"], row["height"], row["width"]) == (221, 64, 114)


def test_inputs_in_order_and_once(videos: Path):
    names = [path.name for path in find_inputs([str(videos / "two.mp4"), str(videos), f"{videos}/*.png"])]
    assert names == ["two.mp4", "one.mp4", "still.png"]
    assert Footage(videos / "still.png", 0.0, 1).frames == 1
