"""Which tokens of several views attend to each other: all of them, or those of the same view and of the same instant.

``same_view_or_frame`` lets a token see its own view, at all instants, and all views at its own instant: of V views, T
frames and n tokens a frame, each sees (T + V - 1) n instead of V T n. No mask is needed: queries of one frame of one
view have the same keys, so each frame is a dense attention of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cosmos_lidar import kernels

Within = Callable[[Tensor, Tensor, Tensor], Tensor]


def attend(q: Tensor, k: Tensor, v: Tensor, within: Within | None = None) -> Tensor:
    """Return the attention of all tokens, or what ``within`` lets see each other.

    Args:
        q: (B, L, heads, D).
        k: (B, M, heads, D).
        v: (B, M, heads, D).
        within: of (q, k, v), such as :class:`SameViewOrFrame`.
    """
    return kernels.attention(q, k, v) if within is None else within(q, k, v)


@dataclass(frozen=True)
class SameViewOrFrame:
    """Attention to the own view and to the same instant of the others.

    Attributes:
        views: number of views.
        frames: of each view.
        sequence: how context ranks share the tokens (:class:`~cosmos_lidar.parallel.context.SequenceSplit`), whose
            keys then lie rank after rank; None for tokens in their order.
    """

    views: int
    frames: int
    sequence: Any = None

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return (B, L, heads, D) of keys and values of all tokens, and queries of all, or of this rank's share."""
        keys, values = self._whole(k), self._whole(v)
        if q.shape[1] == k.shape[1]:
            out = self._attend(self._whole(q), keys, values, 0).flatten(1, 3)
            return out if self.sequence is None else self.sequence.by_rank(self.views, out, self.frames)
        own, first = self.sequence.own_frames(self.frames)
        return self._attend(q.unflatten(1, (self.views, own, -1)), keys, values, first).flatten(1, 3)

    def _whole(self, x: Tensor) -> Tensor:
        """Return (B, V, T, n, heads, D)."""
        ordered = x if self.sequence is None else self.sequence.in_order(self.views, x, self.frames)
        return ordered.unflatten(1, (self.views, self.frames, -1))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, first: int) -> Tensor:
        """Queries of the frames from ``first`` on; view by view, as keys are copied for every frame."""
        frames = slice(first, first + q.shape[2])
        out = []
        for view in range(self.views):
            keys, values = (_visible(x, view, frames) for x in (k, v))
            seen = kernels.attention(q[:, view].flatten(0, 1), keys, values)
            out.append(seen.unflatten(0, (len(q), -1)))
        return torch.stack(out, dim=1)


def _visible(x: Tensor, view: int, frames: slice) -> Tensor:
    """Return what each frame of a view sees: (B * frames, (T + V - 1) n, heads, D) of (B, V, T, n, heads, D)."""
    count = len(range(*frames.indices(x.shape[2])))
    own = x[:, view].flatten(1, 2)[:, None].expand(-1, count, -1, -1, -1)
    others = torch.cat([x[:, :view], x[:, view + 1 :]], dim=1)[:, :, frames].transpose(1, 2).flatten(2, 3)
    return torch.cat([own, others], dim=2).flatten(0, 1)
