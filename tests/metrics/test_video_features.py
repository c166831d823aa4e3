from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.metrics.video_features import I3dFeatures, R3dFeatures, VideoDistance, load_video_features


def clips(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


class Means:
    """Describes a clip by the mean and the spread of its values."""

    name = "means"

    def __call__(self, video: Tensor) -> Tensor:
        return torch.stack([video.mean((1, 2, 3, 4)), video.std((1, 2, 3, 4))], 1)


def test_distance_of_reconstructions_grows_with_the_damage_and_names_its_network():
    video = clips(12, 3, 4, 8, 8)
    found = []
    for gain in (1.0, 0.9, 0.5):
        distance = VideoDistance(Means())
        distance.add(video[:5] * gain, video[:5])
        distance.add(video[5:] * gain, video[5:])
        found.append(distance.result())
    assert found[0].value == pytest.approx(0, abs=1e-12)
    assert found[0].value < found[1].value < found[2].value
    assert found[0].n == 12
    assert found[0].protocol.settings == {"features": "means"}
    with pytest.raises(DataError, match=r"clips of \(1, 3, 4, 8, 8\) and \(1, 3, 5, 8, 8\)"):
        VideoDistance(Means()).add(clips(1, 3, 4, 8, 8), clips(1, 3, 5, 8, 8))


class Logits(nn.Module):
    """Has the interface of the published I3D."""

    def forward(self, x: Tensor, rescale: bool, resize: bool, return_features: bool) -> Tensor:
        assert not rescale
        assert not resize
        assert return_features
        assert x.shape[-1] == 224
        return x.mean(dim=[2, 3, 4])


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_i3d_is_taken_from_a_torchscript_file(tmp_path: Path):
    torch.jit.script(Logits()).save(str(tmp_path / "i3d.pt"))
    features = I3dFeatures(tmp_path / "i3d.pt", sha256=sha256(tmp_path / "i3d.pt"))
    flat = torch.full((2, 3, 10, 32, 48), 0.25)
    assert torch.allclose(features(flat), torch.full((2, 3), 0.25))
    assert torch.allclose(features(flat * 8), torch.ones(2, 3))  # values outside are clamped
    assert features.name == f"i3d_torchscript, 224 x 224 bilinear, sha256 {sha256(tmp_path / 'i3d.pt')[:12]}"
    with pytest.raises(DataError, match=r"clips of 9 frames.*10 or more"):
        features(flat[:, :, :9])
    with pytest.raises(DataError, match=r"no such file.*absent.pt.*i3d_torchscript.pt"):
        I3dFeatures(tmp_path / "absent.pt")


def test_another_torchscript_file_than_the_published_one_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch.jit.script(Logits()).save(str(tmp_path / "i3d.pt"))
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("run"))
    for open_it in (I3dFeatures, load_video_features):
        with pytest.raises(DataError, match=rf"another file.*SHA-256 {sha256(tmp_path / 'i3d.pt')}.*bec6519f66ea534e"):
            open_it(str(tmp_path / "i3d.pt"))


def test_what_r3d_needs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(DataError, match=r"no such file.*r3d_18-b3b3357e.pth.*KINETICS400_V1"):
        R3dFeatures()
    (tmp_path / "r3d.pth").write_text("not weights")
    monkeypatch.setitem(sys.modules, "torchvision.models.video", None)
    with pytest.raises(UserError, match=r"r3d_18 needs torchvision.*belongs to torch 2.*use I3D"):
        R3dFeatures(tmp_path / "r3d.pth")
