"""The losses of video: weights and terms against formulas, the flow term, the game against a critic."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.losses.adversarial import PatchDiscriminator, adaptive_weight, critic_hinge, generator_hinge
from cosmos_lidar.losses.flow import FlowLoss, load_flow
from cosmos_lidar.losses.perceptual import PerceptualLoss, Vgg16Features, load_perceptual
from cosmos_lidar.losses.posterior import gaussian_kl
from cosmos_lidar.losses.video import VideoLoss, Weight
from cosmos_lidar.metrics.codebook import CodebookUsage
from cosmos_lidar.models.pretrained import VGG16


def clips(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


class Shift(nn.Module):
    """Stands for RAFT: the flow at each pixel is the difference of the first two channels."""

    def forward(self, here: Tensor, there: Tensor) -> list[Tensor]:
        self.calls = [*getattr(self, "calls", []), here.shape]
        return [torch.zeros_like(here[:, :2]), (there - here)[:, :2]]


def always(value: float) -> Weight:
    return Weight(value, value, 0)


def test_the_sum_is_of_the_weighted_terms_and_changes_at_the_boundary():
    torch.manual_seed(0)
    perceptual = PerceptualLoss(Vgg16Features())
    weights = {"color": always(2.0), "perceptual": Weight(0.1, 0.3, 10), "gram": Weight(0.0, 0.5, 20)}
    loss = VideoLoss(weights, perceptual)
    made, video = clips(2, 3, 2, 32, 32), clips(2, 3, 2, 32, 32, seed=1)
    colour = (made - video).abs().mean()
    frames = [perceptual(made[b, :, t, None].transpose(0, 1), video[b, :, t, None].transpose(0, 1)).item()
              for b in range(2) for t in range(2)]  # fmt: skip
    for step, weight in ((9, 0.1), (10, 0.3)):
        total, parts = loss(made, video, step)
        assert set(parts) == {"color", "perceptual", "gram"}
        assert parts["perceptual"].item() == pytest.approx(sum(frames) / 4, rel=1e-5)
        assert parts["gram"] == 0
        assert total.item() == pytest.approx(2.0 * colour.item() + weight * sum(frames) / 4, rel=1e-5)
    clip = [perceptual.gram(made[b].transpose(0, 1), video[b].transpose(0, 1), frames=2).item() for b in range(2)]
    assert loss(made, video, 20)[1]["gram"].item() == pytest.approx(sum(clip) / 2, rel=1e-5)


def test_a_term_without_weight_needs_no_network():
    loss = VideoLoss({"color": always(1.0), "perceptual": always(0.0), "gram": always(0.0), "flow": always(0.0)})
    assert loss.names == ("color",)
    assert not list(loss.parameters())
    with pytest.raises(ValueError, match="not the networks"):
        VideoLoss({"flow": Weight(0.0, 0.01, 5)})
    with pytest.raises(DataError, match=r"clips of \(1, 3, 2, 8, 8\) and \(1, 3, 1, 8, 8\)"):
        loss(clips(1, 3, 2, 8, 8), clips(1, 3, 1, 8, 8), 0)


def test_flow_is_compared_forwards_and_backwards_at_half_the_size():
    raft = Shift()
    loss = FlowLoss(raft)
    video = torch.zeros(1, 3, 3, 256, 272)
    moving = video.clone()
    moving[:, 0, 1] = 0.5  # the flow of frames 0-1 is +0.5, of 1-2 is -0.5, backwards the other way round
    moving.requires_grad_(True)
    found = loss(moving, video)
    # half the size, so twice the pixels; one of two channels differs. Flows are resized to the same length in time
    assert found.item() == pytest.approx(2 * 0.5 / 2, rel=1e-5)
    assert raft.calls[0] == (4, 3, 128, 136)
    found.backward()
    assert moving.grad.abs().sum() > 0
    assert loss(video, video) == 0
    assert loss(video[:, :, :1], video[:, :, :1]) == 0


@pytest.mark.parametrize("size", [(128, 256), (256, 264), (248, 256)])
def test_sizes_that_raft_cannot_take_are_refused(size: tuple[int, int]):
    video = torch.zeros(1, 3, 2, *size)
    with pytest.raises(DataError, match=rf"{size[0]} x {size[1]}.*at least 256 x 256, in multiples of 16"):
        FlowLoss(Shift())(video, video)


def test_what_is_missing_for_the_flow_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(DataError, match=r"no such file.*raft.pth.*raft_large"):
        load_flow(tmp_path / "raft.pth")
    (tmp_path / "raft.pth").write_bytes(b"no weights")
    monkeypatch.setitem(sys.modules, "torchvision.models.optical_flow", None)
    with pytest.raises(UserError, match="the flow loss needs torchvision"):
        load_flow(tmp_path / "raft.pth")


def test_hinge_losses_by_hand():
    recorded, made = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.25])
    assert critic_hinge(recorded, made).item() == pytest.approx(0.5 * (0.5 / 2 + 1.25 / 2))
    assert generator_hinge(made).item() == pytest.approx(2.75 / 2)


@pytest.mark.parametrize("frames", [1, 5, 9])
def test_the_critic_learns_to_tell_and_takes_any_length(frames: int):
    torch.manual_seed(0)
    critic = PatchDiscriminator(channels=8, layers=2)
    optimizer = torch.optim.Adam(critic.parameters(), 1e-2)
    recorded, made = clips(2, 3, frames, 32, 32), clips(2, 3, frames, 32, 32, seed=1) * 0.2
    first = critic_hinge(critic(recorded), critic(made))
    for _ in range(25):
        loss = critic_hinge(critic(recorded), critic(made))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.5 * first
    assert critic(recorded).mean() > critic(made).mean()


def test_codebook_usage_adds_up_over_batches():
    usage = CodebookUsage(8)
    usage.add(torch.tensor([[0, 1], [2, 3]], dtype=torch.int32))
    usage.add(torch.tensor([0, 1, 2, 3]))
    assert usage.perplexity() == pytest.approx(4.0, rel=1e-5)
    assert usage.used() == 4
    usage.add(torch.full((8,), 5))
    shares = [1 / 8] * 4 + [1 / 2]
    assert usage.perplexity() == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares)), rel=1e-5)
    with pytest.raises(DataError, match=r"indices from 0 to 8.*0 to 7"):
        usage.add(torch.tensor([0, 8]))


def test_kl_against_the_published_number_and_by_hand():
    """Latents 2 hash01(384, 55) - 1 as (3, 16, 2, 2, 2); mean = first frame of the first window, logvar = mean / 2."""
    x = np.arange(384, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(55)
    for shift, factor in ((16, 2246822519), (13, 3266489917)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    x ^= x >> np.uint32(16)
    mean = torch.from_numpy(x / 2**31 - 1).view(3, 16, 2, 2, 2)[:1, :, :1]
    assert 1e-6 * gaussian_kl(mean, mean / 2).item() == pytest.approx(1.86002e-7, rel=1e-5)
    assert gaussian_kl(torch.tensor([1.0]), torch.tensor([math.log(4.0)])).item() == pytest.approx(
        0.5 * (1 + 4 - 1 - math.log(4.0)), rel=1e-6
    )
    assert gaussian_kl(torch.zeros(3), torch.zeros(3)) == 0
    with pytest.raises(DataError, match=r"means of \(3,\) and log-variances of \(1,\)"):
        gaussian_kl(torch.zeros(3), torch.zeros(1))


def test_the_kl_term_joins_the_sum_and_asks_for_a_posterior():
    loss = VideoLoss({"color": always(1.0), "kl": always(1e-3)})
    video, mean, log_variance = clips(1, 3, 2, 8, 8), clips(1, 4, 1, 2, 2, seed=1), clips(1, 4, 1, 2, 2, seed=2)
    total, parts = loss(video, video, 0, (mean, log_variance))
    assert total.item() == pytest.approx(1e-3 * gaussian_kl(mean, log_variance).item())
    assert set(parts) == {"color", "kl"}
    with pytest.raises(ValueError, match="kl term needs mean and log-variance"):
        loss(video, video, 0)


def test_gram_matrices_against_loops():
    perceptual = PerceptualLoss(TwoChannels())
    made, seen = clips(2, 3, 4, 4), clips(2, 3, 4, 4, seed=1)
    total = 0.0
    for weight, scale in zip((1 / 2.6, 1 / 4.8, 1 / 3.7, 1 / 5.6, 10 / 1.5), (1, 2, 3, 4, 5), strict=True):
        for i in range(2):
            for j in range(2):
                grams = [sum(float(x[f, i, h, w] * x[f, j, h, w]) * scale**2 for f in range(2) for h in range(4)
                             for w in range(4)) / 32 for x in (made, seen)]  # fmt: skip
                total += weight * (grams[0] - grams[1]) ** 2 / 4
    assert perceptual.gram(made, seen, frames=2).item() == pytest.approx(total, rel=1e-4)


class TwoChannels(nn.Module):
    """Stands for VGG: five layers, each the first two channels times 1 … 5."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x[:, :2] * scale for scale in (1, 2, 3, 4, 5)]


def test_raft_stays_in_evaluation():
    loss = VideoLoss({"flow": always(0.01)}, flow=FlowLoss(nn.Sequential(nn.BatchNorm2d(3))))
    loss.train()
    assert not any(module.training for module in loss.flow.modules())


def test_the_adaptive_weight_makes_gradients_equally_large():
    made = clips(1, 3, 2, 4, 4).requires_grad_()
    target = clips(1, 3, 2, 4, 4, seed=1)
    reconstruction, adversarial = (made - target).square().sum(), -(made * target).sum()
    factor = adaptive_weight(reconstruction, adversarial, made)
    wanted = (2 * (made - target)).norm() / (target.norm() + 1e-4)
    assert factor.item() == pytest.approx(wanted.item(), rel=1e-5)
    assert not factor.requires_grad
    (reconstruction + factor * adversarial).backward()  # the graph is still there
    assert adaptive_weight((made * 1e9).sum(), (made * 0.0).sum(), made) == 1e4


def test_weights_are_found_in_torchs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(DataError, match=r"no such file.*checkpoints.vgg16-397923af.pth.*vgg16\(weights="):
        load_perceptual()
    with pytest.raises(DataError, match=r"no such file.*raft_large_C_T_SKHT_V2-ff5fadd5.pth.*puts it there"):
        load_flow()
    (tmp_path / "checkpoints").mkdir()
    vgg = Vgg16Features()
    torch.save(vgg.state_dict(), VGG16.cached)
    found = load_perceptual().vgg.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in vgg.state_dict().items())
