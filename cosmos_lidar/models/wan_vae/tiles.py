"""Spatial tiles of videos: each is computed by itself, in less memory, and joined to the whole.

Latents are taken from the tile in which they lie farthest from an inner edge, images are blended linearly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.tiling import TileGrid

_OVERLAP = 4  # of the tile's side is a quarter shared with each neighbor


def tile_grid(rows: int, columns: int, step: int, tile: int | None, overlap: int | None = None) -> TileGrid:
    """Return the tiles of images of ``rows`` x ``columns`` latents.

    Args:
        rows: of latents.
        columns: of latents.
        step: pixels of a latent.
        tile: side of the tiles, pixels; None for one tile, the whole image.
        overlap: pixels that neighbors share at least; a quarter of the tile where None.

    Raises:
        UserError: no multiples of ``step``, or tiles that do not reach beyond their overlap.
    """
    if tile is None:
        return TileGrid(rows, columns)
    shared = tile // _OVERLAP // step * step if overlap is None else overlap
    if tile < 2 * step or tile % step or shared < 0 or shared % step:
        wanted = f"multiples of {step} pixels, a tile of {2 * step} or more"
        raise UserError(f"tile={tile}, overlap={shared}: expected {wanted}")
    return TileGrid(rows, columns, tile // step, shared // step)


def encode_tiles(encoders: Sequence[Callable[[Tensor], Tensor]], frames: Tensor, grid: TileGrid, step: int) -> Tensor:
    """Return latents (B, C, t, h, w) of frames (B, 3, T, H, W), with one encoder per tile."""
    whole: Tensor | None = None
    for encode, (rows, columns) in zip(encoders, grid.tiles, strict=True):
        down, across = (slice(span.start * step, span.stop * step) for span in (rows, columns))
        part = encode(frames[..., down, across])
        if whole is None:
            whole = part.new_empty((*part.shape[:3], grid.rows, grid.columns))
        inside = part[..., rows.kept, columns.kept]
        whole[..., rows.keep_start : rows.keep_stop, columns.keep_start : columns.keep_stop] = inside
    return cast(Tensor, whole)


def decode_tiles(decoders: Sequence[Callable[[Tensor], Tensor]], latents: Tensor, grid: TileGrid, step: int) -> Tensor:
    """Return images (B, 3, T, H, W) of latents (B, C, t, h, w), with one decoder per tile; blended in fp32."""
    if len(decoders) == 1:
        return decoders[0](latents)
    blended: _Blend | None = None
    for decode, (rows, columns) in zip(decoders, grid.tiles, strict=True):
        part = decode(latents[..., rows.start : rows.stop, columns.start : columns.stop])
        blended = blended or _Blend(part, grid.rows * step, grid.columns * step)
        down, across = (slice(span.start * step, span.stop * step) for span in (rows, columns))
        blended.add(part, grid.weight(rows, columns, step), down, across)
    return cast(_Blend, blended).result()


class _Blend:
    """The weighted mean of overlapping tiles of ``height`` x ``width`` images; ``like`` is the first of them."""

    def __init__(self, like: Tensor, height: int, width: int) -> None:
        exact = torch.promote_types(like.dtype, torch.float32)
        self._total = like.new_zeros((*like.shape[:3], height, width), dtype=exact)
        self._weights, self._dtype = self._total.new_zeros(height, width), like.dtype

    def add(self, part: Tensor, weight: Tensor, down: slice, across: slice) -> None:
        weight = weight.to(self._total)
        self._total[..., down, across] += part * weight
        self._weights[down, across] += weight

    def result(self) -> Tensor:
        return self._total.div_(self._weights).to(self._dtype)
