"""Scores of video: PSNR of clips, LPIPS and Frechet distances against formulas written out, files that are absent."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.metrics.frechet import FeatureStatistics, frechet_distance, frechet_of_weighted
from cosmos_lidar.metrics.image import psnr, psnr_of_clips
from cosmos_lidar.metrics.lpips import AlexNetFeatures, Lpips, load_lpips
from cosmos_lidar.metrics.video_features import I3dFeatures, R3dFeatures, VideoDistance

VECTORS = np.load(Path(__file__).parents[1] / "vectors" / "image_tokenizer.npz")


def clips(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_psnr_of_a_clip_is_of_the_pooled_error_not_a_mean_of_frames():
    x, y = (torch.from_numpy(VECTORS[f"loss/{name}"]) for name in "xy")
    per_frame = torch.tensor([29.03708, 21.78160, 28.40588], dtype=torch.float64)  # published vector
    pooled = -10 * torch.log10((10 ** (-per_frame / 10)).mean())
    assert psnr_of_clips(y, x).item() == pytest.approx(pooled.item(), abs=1e-4)
    assert psnr_of_clips(y, x) < psnr(y[0].transpose(0, 1), x[0].transpose(0, 1)).mean()
    with pytest.raises(DataError, match=r"clips of \(1, 3, 3, 32, 32\) and \(1, 3, 2, 32, 32\)"):
        psnr_of_clips(y, x[:, :, :2])


class Three(nn.Module):
    """Stands for a network: one layer of three channels."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x]


def test_lpips_by_its_definition():
    weights = torch.tensor([0.5, 1.0, 2.0])
    distance = Lpips(Three(), [weights.view(1, 3, 1, 1)], "vgg")
    x, y = clips(2, 3, 16, 16).numpy(), clips(2, 3, 16, 16, seed=1).numpy()
    wanted = np.zeros(2)
    for b in range(2):
        for row in range(16):
            for column in range(16):
                a, c = (v[b, :, row, column] / np.linalg.norm(v[b, :, row, column]) for v in (x, y))
                wanted[b] += float(weights.numpy() @ (a - c) ** 2) / 256
    assert distance(torch.from_numpy(x), torch.from_numpy(y)).tolist() == pytest.approx(wanted, rel=1e-5)
    assert distance(torch.from_numpy(x), torch.from_numpy(x)).tolist() == [0, 0]
    with pytest.raises(DataError, match=r"pictures of 8 x 16.*at least 16 x 16 for LPIPS \(vgg\)"):
        distance(torch.zeros(1, 3, 8, 16), torch.zeros(1, 3, 8, 16))


def test_lpips_reads_the_two_published_files(tmp_path: Path):
    torch.manual_seed(0)
    torch.save(AlexNetFeatures().state_dict(), tmp_path / "alexnet.pth")
    channels = (64, 192, 384, 256, 256)
    heads = {f"lin{i}.model.1.weight": torch.rand(1, n, 1, 1) for i, n in enumerate(channels)}
    torch.save(heads, tmp_path / "alex.pth")
    distance = load_lpips("alex", tmp_path / "alexnet.pth", tmp_path / "alex.pth")
    assert torch.equal(distance.heads[2], heads["lin2.model.1.weight"])
    picture = clips(1, 3, 64, 80)
    near, far = (distance((picture + size * clips(1, 3, 64, 80, seed=1)), picture).item() for size in (0.1, 0.4))
    assert 0 < near < far
    assert not any(parameter.requires_grad for parameter in distance.parameters())
    with pytest.raises(DataError, match="at least 63 x 63"):
        distance(clips(1, 3, 62, 80), clips(1, 3, 62, 80))
    with pytest.raises(DataError, match=r"\(1, 64, 1, 1\), not finite numbers \(1, 128, 1, 1\).*lin1|lin1"):
        load_lpips("vgg", tmp_path / "alexnet.pth", tmp_path / "alex.pth")
    del heads["lin4.model.1.weight"]
    torch.save(heads, tmp_path / "alex.pth")
    with pytest.raises(DataError, match=r"missing.*key lin4.model.1.weight"):
        load_lpips("alex", tmp_path / "alexnet.pth", tmp_path / "alex.pth")


def test_what_lpips_needs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    heads = {f"lin{i}.model.1.weight": torch.rand(1, n, 1, 1) for i, n in enumerate((64, 128, 256, 512, 512))}
    torch.save(heads, tmp_path / "vgg.pth")
    with pytest.raises(DataError, match=r"no such file.*vgg16-397923af.pth.*VGG16 weights"):
        load_lpips("vgg", head_weights=tmp_path / "vgg.pth")
    with pytest.raises(DataError, match=r"no such file.*absent.pth.*LPIPS weights 0.1"):
        load_lpips("vgg", head_weights=tmp_path / "absent.pth")
    with pytest.raises(UserError, match="LPIPS variant 'squeeze': known are vgg, alex"):
        load_lpips("squeeze")


def gaussian(count: int, mean: np.ndarray, root: np.ndarray, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, len(mean))) @ root + mean


def statistics(features: np.ndarray, parts: int = 1) -> FeatureStatistics:
    made = FeatureStatistics("test")
    for part in np.array_split(features, parts):
        made.add(part)
    return made


def test_statistics_are_those_of_all_vectors_at_once_however_they_come():
    features = gaussian(97, np.array([1e6, -3.0, 0.0]), np.diag([1.0, 2.0, 0.5]))
    whole, pieces, merged = statistics(features), statistics(features, 10), statistics(features[:40])
    merged.merge(FeatureStatistics.from_state(statistics(features[40:]).state(), "test"))
    for found in (whole, pieces, merged):
        assert found.count == 97
        assert np.allclose(found.mean, features.mean(0), rtol=1e-14)
        assert np.allclose(found.covariance, np.cov(features, rowvar=False), rtol=1e-7, atol=1e-9)
    empty = FeatureStatistics("test")
    empty.merge(whole)
    empty.merge(FeatureStatistics("test"))
    assert np.array_equal(empty.state(), whole.state())


def exact(mean: np.ndarray, covariance: np.ndarray) -> FeatureStatistics:
    """Statistics of an ideal Gaussian."""
    made = FeatureStatistics("test")
    made.count, made.mean, made.scatter = 11, np.asarray(mean, float), np.asarray(covariance, float) * 10
    return made


def test_distances_of_known_gaussians():
    one = exact([0, 0], np.diag([1.0, 4.0]))
    assert frechet_distance(one, exact([3, 4], np.diag([1.0, 4.0]))) == pytest.approx(25)
    # for covariances that commute: sum of (sigma1 - sigma2)^2
    assert frechet_distance(one, exact([0, 0], np.diag([9.0, 1.0]))) == pytest.approx((1 - 3) ** 2 + (2 - 1) ** 2)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(one, exact([0, 0], np.zeros((2, 2)))) == pytest.approx(5)  # a point: trace of the other


def test_distance_against_the_matrix_square_root():
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(3)
    first, second = (gaussian(60, rng.normal(size=6), rng.normal(size=(6, 6)), seed) for seed in (1, 2))
    c1, c2 = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    shift = first.mean(0) - second.mean(0)
    wanted = shift @ shift + np.trace(c1 + c2 - 2 * sqrtm(c1 @ c2).real)
    found = frechet_distance(statistics(first), statistics(second))
    assert found == pytest.approx(wanted, rel=1e-8)
    assert frechet_distance(statistics(second), statistics(first)) == pytest.approx(found, rel=1e-10)
    once = (np.ones(60), np.ones(60))
    assert frechet_of_weighted(first, second, once) == pytest.approx(wanted, rel=1e-8)
    few = (first[:4], second[:5])  # fewer vectors than values
    drawn = frechet_of_weighted(*few, (np.array([1, 2, 0, 1]), np.ones(5)))
    repeated = statistics(first[[0, 1, 1, 3]])
    assert drawn == pytest.approx(frechet_distance(repeated, statistics(second[:5])), rel=1e-8)


def test_the_bias_of_small_sets_falls_with_their_size():
    """What the module says of itself: equal distributions are not at distance 0."""
    found = []
    for count in (50, 200, 800):
        sets = (gaussian(count, np.zeros(16), np.eye(16), seed) for seed in (1, 2))
        found.append(frechet_distance(*(statistics(features) for features in sets)))
    assert found[0] > 2.5 * found[1] > 6 * found[2] > 0


def test_features_that_do_not_belong_together_are_refused():
    first = statistics(np.zeros((3, 2)))
    other = FeatureStatistics("another network")
    other.add(np.zeros((3, 2)))
    with pytest.raises(DataError, match="features of test and of another network"):
        frechet_distance(first, other)
    with pytest.raises(DataError, match="features of length 2 and 3"):
        frechet_distance(first, statistics(np.zeros((3, 3))))
    with pytest.raises(DataError, match="3 and 1 feature vectors"):
        frechet_distance(first, statistics(np.zeros((1, 2))))
    with pytest.raises(DataError, match=r"features of \(2, 2\).*finite"):
        first.add(np.full((2, 2), np.nan))


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


def test_i3d_is_taken_from_a_torchscript_file(tmp_path: Path):
    torch.jit.script(Logits()).save(str(tmp_path / "i3d.pt"))
    features = I3dFeatures(tmp_path / "i3d.pt")
    flat = torch.full((2, 3, 10, 32, 48), 0.25)
    assert torch.allclose(features(flat), torch.full((2, 3), 0.25))
    assert torch.allclose(features(flat * 8), torch.ones(2, 3))  # values outside are clamped
    assert features.name.startswith("i3d_torchscript, 224 x 224 bilinear, sha256 ")
    with pytest.raises(DataError, match=r"clips of 9 frames.*10 or more"):
        features(flat[:, :, :9])
    with pytest.raises(DataError, match=r"no such file.*absent.pt.*i3d_torchscript.pt"):
        I3dFeatures(tmp_path / "absent.pt")
    (tmp_path / "text.pt").write_text("not a network")
    with pytest.raises(DataError, match=r"not TorchScript.*text.pt"):
        I3dFeatures(tmp_path / "text.pt")


def test_what_r3d_needs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(DataError, match=r"no such file.*r3d_18-b3b3357e.pth.*KINETICS400_V1"):
        R3dFeatures()
    (tmp_path / "r3d.pth").write_text("not weights")
    monkeypatch.setitem(sys.modules, "torchvision.models.video", None)
    with pytest.raises(UserError, match=r"r3d_18 needs torchvision.*belongs to torch 2.*use I3D"):
        R3dFeatures(tmp_path / "r3d.pth")
