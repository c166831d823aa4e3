"""State of causal layers between the chunks of a streamed video: the last frames of their inputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from cosmos_lidar.errors import UserError


class StreamMemory:
    """Past frames of each causal layer of one network, for one video.

    The layers take this object beside their input, and keep nothing themselves: any number of videos may be computed
    with one network at once, in threads, too. Frames are freed as they are used, so that those of two chunks are never
    held together; a chunk that fails therefore ends its video.

    Args:
        keep: False for a video that is computed in one chunk: nothing is kept.

    Attributes:
        begun: whether there was a chunk before the current one.
    """

    def __init__(self, keep: bool = True) -> None:
        self.keep, self.begun = keep, False
        self._past: dict[nn.Module, Tensor] = {}
        self._failed = False

    @property
    def nbytes(self) -> int:
        """Bytes that are kept for the next chunk."""
        return sum(tensor.nbytes for tensor in self._past.values())

    @contextmanager
    def chunk(self) -> Iterator[StreamMemory]:
        """Compute one chunk inside the ``with`` block.

        Raises:
            UserError: an earlier chunk failed.
        """
        if self._failed:
            raise UserError("an earlier chunk of this video failed: start its stream again")
        self._failed = True
        yield self
        self._failed, self.begun = False, True

    def extend(self, layer: nn.Module, x: Tensor, frames: int, fill: bool = True) -> Tensor:
        """Prepend the last input frames of the layer to (B, C, T, H, W), and keep those of now for the next chunk.

        Args:
            layer: whose input ``x`` is.
            x: of this chunk.
            frames: number of frames to prepend.
            fill: prepend zeros where the layer has had no input yet; else nothing.
        """
        past = self._past.pop(layer, None)
        if past is None and fill:
            past = x.new_zeros((*x.shape[:2], frames, *x.shape[3:]))
        whole = x if past is None else torch.cat((past, x), dim=2)
        if self.keep:
            self._past[layer] = whole[:, :, -frames:].clone()  # a view would keep all of it
        return whole
