"""Optical-flow loss with RAFT (Teed and Deng 2020, arXiv 2003.12039)."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.pretrained import RAFT, load_weights, torchvision_module

_SCALE = 2  # flow is estimated at half resolution
_SMALLEST = 128 * _SCALE  # RAFT's features need 16 x 16, an eighth of its input
_MULTIPLE = 8 * _SCALE


class FlowLoss(nn.Module):
    """Mean absolute difference of the optical flow between neighboring frames, forwards and backwards in time.

    Args:
        raft: (frames (N, 3, h, w), next frames) -> list of flows (N, 2, h, w) pixels, the last one the most refined.
    """

    def __init__(self, raft: nn.Module) -> None:
        super().__init__()
        self.raft = raft.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> FlowLoss:
        """Stay in eval mode: RAFT's batch-norm statistics must not be updated."""
        del mode
        return super().train(False)

    def forward(self, reconstruction: Tensor, video: Tensor) -> Tensor:
        """Return the distance, a scalar in pixels; 0 for clips of one frame.

        Args:
            reconstruction: (B, 3, T, H, W) in [-1, 1]; gradients flow into it.
            video: of the same shape.

        Raises:
            DataError: shapes that differ, or sizes that RAFT cannot take.
        """
        if reconstruction.shape != video.shape or video.ndim != 5:
            shapes = f"{tuple(reconstruction.shape)} and {tuple(video.shape)}"
            raise DataError(f"clips of {shapes}", wanted="two of the same shape (B, 3, T, H, W)")
        if video.shape[2] == 1:
            return reconstruction.new_zeros(())
        check_flow_size(*video.shape[-2:])
        with torch.no_grad():
            target = self._flows(video)
        return (self._flows(reconstruction) - target).abs().mean()

    def _flows(self, video: Tensor) -> Tensor:
        """Return (B, 2, 2 (T - 1), H, W) flow in pixels of the full size: forward, then backward."""
        count, _, frames, height, width = video.shape
        small = F.interpolate(video, size=(frames, height // _SCALE, width // _SCALE), mode="trilinear")
        here, there = (x.transpose(1, 2).flatten(0, 1) for x in (small[:, :, :-1], small[:, :, 1:]))
        flows = self.raft(torch.cat([here, there]), torch.cat([there, here]))[-1]
        both = torch.cat([flow.unflatten(0, (count, -1)) for flow in flows.chunk(2)], dim=1).transpose(1, 2)
        return _SCALE * F.interpolate(both, size=(both.shape[2], height, width), mode="trilinear")


def check_flow_size(height: int, width: int) -> None:
    """Check that RAFT can take images of this size.

    Raises:
        DataError: the message names valid sizes.
    """
    if min(height, width) < _SMALLEST or height % _MULTIPLE or width % _MULTIPLE:
        wanted = f"at least {_SMALLEST} x {_SMALLEST}, in multiples of {_MULTIPLE}, for the flow loss (or its weight 0)"
        raise DataError(f"clips of {height} x {width}", wanted=wanted)


def load_flow(path: str | Path = "") -> FlowLoss:
    """Return the loss with torchvision's ``raft_large`` and the weights of a file (.pth of torchvision).

    Args:
        path: of the file; empty takes torchvision's from torch's cache.

    Raises:
        UserError: torchvision is not installed, or was built for another torch.
        DataError: no such file, or other weights; never randomly initialized.
    """
    file = RAFT.find(path)
    models = torchvision_module("models.optical_flow", "the flow loss", "train without the flow loss")
    network = models.raft_large(weights=None)
    load_weights(network, file, RAFT.wanted)
    return FlowLoss(network)
