"""Tiling of large images: overlapping tiles and their blending.

Convolutions get their full receptive field when tiles overlap by enough; norms and attention work on one tile
instead of the image, so that results differ slightly. Latents are taken from the tile in which they lie farthest from
an inner edge, images are blended linearly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cosmos_lidar.errors import UserError


@dataclass(frozen=True)
class Span:
    """A tile along one axis, in latent rows or columns.

    Attributes:
        start: first one of the tile.
        stop: one past its last.
        keep_start: first one that is taken from this tile.
        keep_stop: one past the last.
    """

    start: int
    stop: int
    keep_start: int
    keep_stop: int

    @property
    def kept(self) -> slice:
        """What is taken from this tile, counted from its start."""
        return slice(self.keep_start - self.start, self.keep_stop - self.start)


def spans(length: int, tile: int, overlap: int) -> list[Span]:
    """Return tiles of equal size that cover ``length`` and overlap by at least ``overlap``; one where it fits whole.

    Raises:
        UserError: tiles that do not reach beyond their overlap.
    """
    if tile <= overlap:
        raise UserError(f"tiles of {tile} latents that overlap by {overlap}: choose larger tiles")
    if length <= tile:
        return [Span(0, length, 0, length)]
    count = -(-(length - overlap) // (tile - overlap))
    starts = [round(number * (length - tile) / (count - 1)) for number in range(count)]
    edges = [0, *((b + a + tile) // 2 for a, b in zip(starts[:-1], starts[1:], strict=True)), length]
    return [Span(start, start + tile, edges[number], edges[number + 1]) for number, start in enumerate(starts)]


def fade(span: Span, before: Span | None, after: Span | None, step: int) -> Tensor:
    """Return the blending weight (pixels,) of a tile along one axis, with linear ramps where it overlaps its neighbors.

    Args:
        span: the tile.
        before: the tile before it, if any.
        after: the tile after it, if any.
        step: pixels of a latent.
    """
    weight = torch.ones((span.stop - span.start) * step)
    if before is not None and before.stop > span.start:
        shared = (before.stop - span.start) * step
        weight[:shared] = (torch.arange(shared) + 0.5) / shared
    if after is not None and span.stop > after.start:
        shared = (span.stop - after.start) * step
        weight[-shared:] = torch.minimum(weight[-shared:], 1 - (torch.arange(shared) + 0.5) / shared)
    return weight


class TileGrid:
    """The tiles of an image of ``rows`` x ``columns`` latents.

    Args:
        rows: of the image.
        columns: of the image.
        tile: side of a tile, in latents; None for one tile, the whole image.
        overlap: latents that neighboring tiles share at least.

    Raises:
        UserError: tiles that do not reach beyond their overlap.
    """

    def __init__(self, rows: int, columns: int, tile: int | None = None, overlap: int = 0) -> None:
        self.rows, self.columns = rows, columns
        self._down, self._across = (spans(side, tile or side, overlap if tile else 0) for side in (rows, columns))
        self.tiles = [(down, across) for down in self._down for across in self._across]

    def weight(self, rows: Span, columns: Span, step: int) -> Tensor:
        """Return the blending weights (H, W) of a tile's pixels; ``step`` is the pixels of a latent."""
        down, across = (
            _fade_among(span, others, step) for span, others in ((rows, self._down), (columns, self._across))
        )
        return down[:, None] * across


def _fade_among(span: Span, others: list[Span], step: int) -> Tensor:
    place = others.index(span)
    before = others[place - 1] if place else None
    return fade(span, before, others[place + 1] if place + 1 < len(others) else None, step)
