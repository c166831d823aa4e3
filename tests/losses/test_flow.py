from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.losses.flow import FlowLoss, load_flow


class Shift(nn.Module):
    """Stands for RAFT: the flow at each pixel is the difference of the first two channels."""

    def forward(self, here: Tensor, there: Tensor) -> list[Tensor]:
        self.calls = [*getattr(self, "calls", []), here.shape]
        return [torch.zeros_like(here[:, :2]), (there - here)[:, :2]]


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
