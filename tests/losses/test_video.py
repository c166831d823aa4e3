from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cosmos_lidar.errors import DataError
from cosmos_lidar.losses.flow import FlowLoss
from cosmos_lidar.losses.perceptual import PerceptualLoss, Vgg16Features
from cosmos_lidar.losses.video import VideoLoss, Weight


def clips(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def always(value: float) -> Weight:
    return Weight(value, value, 0)


def test_the_sum_is_of_the_weighted_terms_and_changes_at_the_boundary():
    torch.manual_seed(0)
    perceptual = PerceptualLoss(Vgg16Features())
    weights = {"color": always(2.0), "perceptual": Weight(0.1, 0.3, 10), "gram": Weight(0.0, 0.5, 20)}
    loss = VideoLoss(weights, perceptual)
    made, video = clips(2, 3, 2, 32, 32), clips(2, 3, 2, 32, 32, seed=1)
    color = (made - video).abs().mean()
    frames = [perceptual(made[b, :, t, None].transpose(0, 1), video[b, :, t, None].transpose(0, 1)).item()
              for b in range(2) for t in range(2)]  # fmt: skip
    for step, weight in ((9, 0.1), (10, 0.3)):
        total, parts = loss(made, video, step)
        assert set(parts) == {"color", "perceptual", "gram"}
        assert parts["perceptual"].item() == pytest.approx(sum(frames) / 4, rel=1e-5)
        assert parts["gram"] == 0
        assert total.item() == pytest.approx(2.0 * color.item() + weight * sum(frames) / 4, rel=1e-5)
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


def test_raft_stays_in_evaluation():
    loss = VideoLoss({"flow": always(0.01)}, flow=FlowLoss(nn.Sequential(nn.BatchNorm2d(3))))
    loss.train()
    assert not any(module.training for module in loss.flow.modules())
