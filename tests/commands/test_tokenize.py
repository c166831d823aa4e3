"""tokenize and reconstruct from the command line: what comes out, what is kept, and what is left out."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from safetensors import safe_open

from cosmos_lidar.cli import main
from cosmos_lidar.clips.footage import Footage, scaled
from cosmos_lidar.clips.video import write_mp4
from cosmos_lidar.commands.reconstruct import beside
from cosmos_lidar.errors import DataError
from cosmos_lidar.families.video_tokenizer.codec import VideoCodec
from cosmos_lidar.families.video_tokenizer.files import find_inputs, output_names
from cosmos_lidar.families.video_tokenizer.latent_files import read_encoded
from cosmos_lidar.latents.cache import LatentCache, frames_hash, latent_key, weights_hash
from cosmos_lidar.losses.perceptual import Vgg16Features
from cosmos_lidar.models.tokenizer import build_tokenizer, export_jit, export_safetensors, load_tokenizer
from cosmos_lidar.viz.pictures import write_png
from cosmos_lidar.viz.video import read_video


def moving(frames: int, height: int = 34, width: int = 50) -> list[np.ndarray]:
    rows, columns = np.mgrid[:height, :width]
    return [np.stack([(rows * 5 + 4 * n) % 200, (columns * 4) % 220, np.full_like(rows, 90)], 2).astype(np.uint8)
            for n in range(frames)]  # fmt: skip


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    made = {}
    for name in ("CV4x8x8", "DV4x8x8", "CI8x8"):
        torch.manual_seed(0)
        made[name] = folder / f"{name}.safetensors"
        export_safetensors(build_tokenizer(name, channels=32, num_res_blocks=1), made[name])
    return made


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    write_mp4(folder / "one.mp4", moving(7), 10.0)
    write_mp4(folder / "two.mp4", moving(5, 40, 64), 25.0)
    write_png(folder / "still.png", moving(1)[0])
    return folder


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
    assert np.abs(ours.astype(int) - theirs).mean() < 3  # x264 itself is not the same twice at such widths
    assert (direct / "still.png").is_file()
    side = next(iter(read_video(direct / "one_side_by_side.mp4")))
    assert side.shape[1] == 3 * 50
    document = json.loads((direct / "metrics.json").read_text())
    assert {Path(row["source"]).name for row in document["videos"]} == {"one.mp4", "two.mp4", "still.png"}
    low, high = document["mean"]["psnr"]["interval_95"]
    assert low <= document["mean"]["psnr"]["mean"] <= high


def test_metrics_are_those_of_the_pictures_before_the_mp4(checkpoints: dict[str, Path], videos: Path, tmp_path: Path):
    words = [videos / "still.png", "--checkpoint", checkpoints["CI8x8"], "--out", tmp_path / "o"]
    assert command("reconstruct", *words) == 0
    (row,) = json.loads((tmp_path / "o" / "metrics.json").read_text())["videos"]
    codec = VideoCodec(load_tokenizer(checkpoints["CI8x8"]))
    still = moving(1)[0]
    (made,) = np.concatenate(list(codec.decode(codec.encode(still[None]))))
    mse = ((made.astype(float) - still) ** 2).mean()
    assert row["psnr"] == pytest.approx(10 * np.log10(255**2 / mse), rel=1e-4)
    assert row["psnr_video"] == pytest.approx(row["psnr"], rel=1e-6)  # there is one frame
    assert -1 <= row["ssim"] <= 1


def test_lpips_where_its_weights_are_given(checkpoints: dict[str, Path], videos: Path, tmp_path: Path, capsys):
    pytest.importorskip("torchmetrics")
    torch.manual_seed(0)
    torch.save(Vgg16Features().state_dict(), tmp_path / "vgg16.pth")
    words = ["reconstruct", videos / "two.mp4", "--checkpoint", checkpoints["CV4x8x8"]]
    words += ["--out", tmp_path / "o", "--lpips"]
    assert command(*words, tmp_path / "vgg16.pth") == 0
    document = json.loads((tmp_path / "o" / "metrics.json").read_text())
    assert 0 < document["videos"][0]["lpips"] == document["mean"]["lpips"]["mean"]
    assert command(*words, tmp_path / "missing.pth") == 2
    assert "missing.pth" in capsys.readouterr().err


class ClipMeans(torch.nn.Module):
    """Describes a clip by the mean of each channel, through the interface of the published I3D."""

    def forward(self, x: torch.Tensor, rescale: bool, resize: bool, return_features: bool) -> torch.Tensor:
        return x.mean(dim=[2, 3, 4])


def test_fvd_where_its_network_is_given(checkpoints: dict[str, Path], videos: Path, tmp_path: Path, capsys, caplog):
    torch.jit.script(ClipMeans()).save(str(tmp_path / "i3d.pt"))
    write_mp4(videos / "long.mp4", moving(31), 10.0)
    words = ["reconstruct", videos, "--checkpoint", checkpoints["CV4x8x8"], "--no-side-by-side"]
    words += ["--fvd", tmp_path / "i3d.pt"]
    assert command(*words, "--fvd-frames", 10, "--out", tmp_path / "o") == 0
    found = json.loads((tmp_path / "o" / "metrics.json").read_text())["fvd"]
    codec = VideoCodec(load_tokenizer(checkpoints["CV4x8x8"]))
    source = np.stack(list(read_video(videos / "long.mp4")))
    made = np.concatenate(list(codec.decode(codec.encode(source))))
    sets = [np.stack([x[start : start + 10].mean((0, 1, 2)) for start in (0, 10, 20)]) for x in (made, source)]
    means, spreads = zip(*((x.mean(0) / 127.5 - 1, np.cov(x.T) / 127.5**2) for x in sets), strict=True)
    overlap = np.sqrt(np.maximum(np.linalg.eigvals(spreads[0] @ spreads[1]).real, 0)).sum()
    wanted = ((means[0] - means[1]) ** 2).sum() + np.trace(spreads[0] + spreads[1]) - 2 * overlap
    assert (found["name"], found["n"]) == ("rfvd", 3)  # of 31, 7 and 5 frames and one picture
    assert found["value"] == pytest.approx(wanted, rel=1e-3)
    assert found["settings"]["features"].startswith("i3d_torchscript")
    assert "rfvd: " in capsys.readouterr().out
    assert command(*words, "--fvd-frames", 30, "--out", tmp_path / "few") == 0
    assert "no FVD: 1 and 1 feature vectors" in caplog.text
    assert "fvd" not in json.loads((tmp_path / "few" / "metrics.json").read_text())
    assert command(*words[:-1], tmp_path / "missing.pt", "--out", tmp_path / "none") == 2
    assert "missing.pt" in capsys.readouterr().err


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
        "no pictures, videos or latents": [tmp_path / "empty/*.mp4", "--checkpoint", checkpoints["CV4x8x8"], *out],
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


def test_names_of_results_never_meet():
    files = [Path("a/x.mp4"), Path("b/x.mp4"), Path("b/y.png")]
    assert output_names(files) == ["a_x", "b_x", "b_y"]
    assert output_names([Path("a/x.mp4"), Path("a/x.png")]) == ["a_x_0000", "a_x_0001"]


def test_sizes_by_the_short_side():
    assert scaled(np.zeros((1, 34, 50, 3), np.uint8), 24).shape == (1, 24, 36, 3)  # 35.3, rounded, made even
    assert scaled(np.zeros((1, 50, 34, 3), np.uint8), 24).shape == (1, 36, 24, 3)
    assert scaled(np.zeros((1, 720, 1280, 3), np.uint8), 360).shape == (1, 360, 640, 3)


def test_the_difference_is_shown_four_times():
    frame = np.full((40, 60, 3), 100, np.uint8)
    shown = beside(frame, frame + 10)
    assert shown.shape[1] == 180
    assert (shown[-1, -1] == 40).all()


# --- the cache


def test_what_the_name_of_an_entry_depends_on():
    frames = np.arange(5 * 4 * 4 * 3, dtype=np.uint8).reshape(5, 4, 4, 3)
    assert frames_hash(frames) == frames_hash(iter([frames[:2], frames[2:]]))
    other = frames.copy()
    other[3, 1, 2, 0] += 1
    assert len({frames_hash(x) for x in (frames, other, frames[:4], frames.reshape(5, 2, 8, 3))}) == 4
    network = build_tokenizer("CI8x8", channels=32)
    before = weights_hash(network)
    with torch.no_grad():
        next(network.parameters()).flatten()[0].add_(1e-3)
    assert weights_hash(network) != before
    keys = [latent_key("a", "b"), latent_key("b", "a"), latent_key("a", "b", dtype="x"), latent_key("a", "b", tile=1)]
    assert len(set(keys)) == 4


def test_entries_come_back_and_damage_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    cache, made = LatentCache(tmp_path), []

    def make() -> dict[str, torch.Tensor]:
        made.append(1)
        return {"latents": torch.arange(6.0).reshape(2, 3).bfloat16(), "sizes": torch.tensor([1, 2])}

    first = cache.get_or_make("ab12", make)
    again = LatentCache(tmp_path).get_or_make("ab12", make)
    assert len(made) == 1
    assert all(torch.equal(first[name], again[name]) for name in first)
    (path,) = tmp_path.rglob("*.safetensors")
    for damaged in (path.read_bytes()[:-1], path.read_bytes()[:-1] + b"\x7f", b""):
        path.write_bytes(damaged)
        caplog.clear()
        assert cache.get("ab12") is None
        assert not path.exists()
        assert "is damaged" in caplog.text
        cache.put("ab12", make())
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == {"latents", "sizes"}


def test_the_oldest_go_beyond_the_limit(tmp_path: Path):
    cache = LatentCache(tmp_path, limit_bytes=10_000)
    for number in range(4):
        cache.put(f"{number}{number}", {"x": torch.zeros(1000)})
        (path,) = (tmp_path / f"{number}{number}").glob("*.safetensors")
        os.utime(path, (number, number))
    assert sorted(path.parent.name for path in tmp_path.rglob("*.safetensors")) == ["22", "33"]


def test_many_writers_of_one_entry(tmp_path: Path):
    tensors = {"x": torch.arange(20_000)}
    code = f"""
import torch
from cosmos_lidar.latents.cache import LatentCache
for _ in range(30): LatentCache({str(tmp_path)!r}).put("ab", {{"x": torch.arange(20_000)}})
"""
    others = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    cache = LatentCache(tmp_path)
    cache.put("ab", tensors)
    while any(other.poll() is None for other in others):
        assert torch.equal(cache.get("ab")["x"], tensors["x"])
    assert not [other for other in others if other.returncode]
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".safetensors"]


def test_a_folder_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot write"):
        LatentCache(tmp_path / "file").put("ab", {"x": torch.zeros(1)})


def test_inputs_in_order_and_once(videos: Path):
    names = [path.name for path in find_inputs([str(videos / "two.mp4"), str(videos), f"{videos}/*.png"])]
    assert names == ["two.mp4", "one.mp4", "still.png"]
    assert Footage(videos / "still.png", 0.0, 1).frames == 1


def test_real_driving_video(checkpoints: dict[str, Path], test_data: Path, tmp_path: Path):
    words = ["--checkpoint", checkpoints["CV4x8x8"], "--out", tmp_path, "--short-size", 64]
    assert command("reconstruct", test_data / "video" / "solidWhiteRight.mp4", *words) == 0
    (row,) = json.loads((tmp_path / "metrics.json").read_text())["videos"]
    assert (row["frames"], row["height"], row["width"]) == (221, 64, 114)
