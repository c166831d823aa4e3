"""The losses of video: weights and terms against formulas, the flow term, the game against a critic."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.losses.adversarial import PatchDiscriminator, critic_hinge, generator_hinge
from cosmos_lidar.losses.flow import FlowLoss, load_flow
from cosmos_lidar.losses.perceptual import PerceptualLoss, Vgg16Features
from cosmos_lidar.losses.video import VideoLoss, Weight
from cosmos_lidar.metrics.codebook import CodebookUsage


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
