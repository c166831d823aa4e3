from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cosmos_lidar.cli import main
from cosmos_lidar.clips.video import write_mp4
from cosmos_lidar.families.video_tokenizer.codec import VideoCodec
from cosmos_lidar.files import file_sha256
from cosmos_lidar.losses.perceptual import Vgg16Features
from cosmos_lidar.metrics.video_features import I3dFeatures
from cosmos_lidar.models.tokenizer import load_tokenizer
from cosmos_lidar.viz.video import read_video
from tests.commands.conftest import moving


def command(*words: object) -> int:
    return main([str(word) for word in words])


def test_metrics_are_those_of_the_images_before_the_mp4(checkpoints: dict[str, Path], videos: Path, tmp_path: Path):
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


def test_fvd_where_its_network_is_given(
    checkpoints: dict[str, Path], videos: Path, tmp_path: Path, capsys, caplog, monkeypatch: pytest.MonkeyPatch
):
    torch.jit.script(ClipMeans()).save(str(tmp_path / "i3d.pt"))
    known = ("cpu", file_sha256(tmp_path / "i3d.pt"))  # in the place of the published file
    monkeypatch.setattr(I3dFeatures.__init__, "__defaults__", known)
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
    assert (found["name"], found["n"]) == ("rfvd", 3)  # of 31, 7 and 5 frames and one image
    assert found["value"] == pytest.approx(wanted, rel=1e-3)
    assert found["settings"]["features"].startswith("i3d_torchscript")
    assert "rfvd: " in capsys.readouterr().out
    assert command(*words, "--fvd-frames", 30, "--out", tmp_path / "few") == 0
    assert "no FVD: 1 and 1 feature vectors" in caplog.text
    assert "fvd" not in json.loads((tmp_path / "few" / "metrics.json").read_text())
    assert command(*words[:-1], tmp_path / "missing.pt", "--out", tmp_path / "none") == 2
    assert "missing.pt" in capsys.readouterr().err
