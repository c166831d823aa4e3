"""Codings of range images for a tokenizer: the published one, and one with validity and expected error of its own.

Published: three equal channels, "no return" is the nearest range, -1. Each missing pixel bends the ranges around it.

``validity``: the network is given ranges in which missing pixels are interpolated between their neighbors of the row,
+1 or -1 for return or none, and the ranges again. It decodes range, logit of a return, and the logarithm of the
expected error (the scale of a Laplace distribution), of which the last one is trained by option. Images outside of the
network are the published ones in both codings, so that all that encodes and decodes works with either.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cosmos_lidar.models.tokenizer.config import CODINGS, PUBLISHED, VALIDITY

BUFFER = "range_coding"  # of a network whose coding is not the published one: [number of the coding, scale trained]

LOGIT_FACTOR, SCALE_FACTOR, SCALE_AT_0 = 4.0, 4.0, -4.0  # factors that bring outputs to the size of ranges
_SCALE_LIMITS = (-12.0, 1.0)
_INSIDE = 1.0 - 1e-4  # largest magnitude of a decoded range: the limits themselves mean "no return"


class RangeChannels(NamedTuple):
    """What a network of the coding ``validity`` decodes, each (B, 1, H, W).

    Attributes:
        image: ranges scaled to [-1, 1], in every pixel, with return or not.
        logit: of the probability of a return.
        log_scale: natural logarithm of the expected absolute error of ``image``.
    """

    image: Tensor
    logit: Tensor
    log_scale: Tensor

    def published(self) -> Tensor:
        """Return images (B, 3, H, W) in the published coding: -1 where a return is not more probable than none."""
        inside = self.image.clamp(-_INSIDE, _INSIDE)
        return torch.where(self.logit > 0, inside, -torch.ones_like(inside)).expand(-1, 3, -1, -1)


def coding_values(coding: str, scale: bool) -> Tensor:
    """Return the buffer that records a coding in a network's state dict, (2,) int64."""
    return torch.tensor([CODINGS.index(coding), int(scale)])


def coding_of(values: Tensor | None) -> tuple[str, bool]:
    """Return coding and whether a scale is trained, of a buffer of :func:`coding_values`; None is the published one.

    Raises:
        ValueError: other values than these.
    """
    if values is None:
        return PUBLISHED, False
    found = values.tolist() if values.ndim == 1 and not values.is_floating_point() else None
    if found not in ([1, 0], [1, 1]):
        raise ValueError(f"{BUFFER} is {values!r:.60}: expected [1, 0] or [1, 1]")
    return VALIDITY, bool(found[1])


def encode_validity(image: Tensor) -> Tensor:
    """Return the input (B, 3, H, W) of a network of the coding ``validity``.

    Args:
        image: (B, 3, H, W) in the published coding, three equal channels.
    """
    value = image[:, :1]
    valid = find_returns(image)
    filled = fill_missing(value, valid)
    return torch.cat((filled, valid.to(value.dtype) * 2 - 1, filled), dim=1)


def decode_validity(raw: Tensor) -> RangeChannels:
    """Return the channels of a network's output (B, 3, H, W)."""
    log_scale = (raw[:, 2:3] * SCALE_FACTOR + SCALE_AT_0).clamp(*_SCALE_LIMITS)
    return RangeChannels(raw[:, :1], raw[:, 1:2] * LOGIT_FACTOR, log_scale)


def find_returns(image: Tensor) -> Tensor:
    """Return (B, 1, H, W) bool: pixels of an image (B, 3, H, W) with a return inside the range limits."""
    value = image[:, :1]
    return (value > -1) & (value < 1)


def fill_missing(value: Tensor, valid: Tensor) -> Tensor:
    """Return values with missing pixels interpolated along their row, linearly between the nearest valid ones.

    Beyond the first and the last valid pixel of a row their value is repeated; a row without any is that of the nearest
    row above that has some, or else below; an image without any is 1, the farthest.

    Args:
        value: (B, 1, H, W).
        valid: of the same shape, bool.
    """
    column = torch.arange(value.shape[-1], device=value.device).expand(value.shape)
    none = column.new_tensor(-1)
    left = torch.where(valid, column, none).cummax(-1).values
    last = column[..., -1:]
    right = torch.where(valid, column, last + 1).flip(-1).cummin(-1).values.flip(-1)
    before, after = value.gather(-1, left.clamp(min=0)), value.gather(-1, torch.minimum(right, last))
    share = ((column - left) / (right - left).clamp(min=1)).to(value.dtype)
    between = before + (after - before) * share
    filled = torch.where(left < 0, after, torch.where(right > last, before, between))
    return _fill_rows(filled, valid.any(-1, keepdim=True))


def _fill_rows(value: Tensor, valid: Tensor) -> Tensor:
    """Replace rows without a valid pixel, (B, 1, H, 1), by the nearest one above, or below."""
    row = torch.arange(value.shape[-2], device=value.device)[:, None].expand(valid.shape)
    last = row[..., -1:, :]
    above = torch.where(valid, row, row.new_tensor(-1)).cummax(-2).values
    below = torch.where(valid, row, last + 1).flip(-2).cummin(-2).values.flip(-2)
    source = torch.where(above >= 0, above, torch.minimum(below, last))
    rows = value.gather(-2, source.expand(value.shape))
    return torch.where(valid.any(-2, keepdim=True), rows, torch.ones_like(rows))
