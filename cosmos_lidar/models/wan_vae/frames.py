"""Numbers of frames of a causal video VAE: 4 k + 1 for a whole video; windows, and trimming on request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.log import logger


def usable_frames(count: int, step: int, trim: bool = False) -> int:
    """Return how many frames of a video fill latents: ``count``, or fewer with ``trim``, which is logged.

    Args:
        count: frames of the video.
        step: frames of one latent frame.
        trim: drop the last ``(count - 1) % step`` frames instead of raising.

    Raises:
        DataError: no frames, or others than k ``step`` + 1 without ``trim``.
    """
    if count < 1:
        raise DataError("a video without frames", wanted="at least one")
    extra = (count - 1) % step
    if not extra:
        return count
    if not trim:
        wanted = f"{step} k + 1: {count - extra} or {count - extra + step}, or trim=True to drop the last {extra}"
        raise DataError(f"a video of {count} frames", wanted=wanted)
    logger.warning("dropped the last %d of %d frames of a video: %d k + 1 fill latents", extra, count, step)
    return count - extra


def check_window(window: int | None, step: int) -> None:
    """Refuse a window of frames that does not fill latents.

    Raises:
        UserError: not a multiple of ``step``.
    """
    if window is not None and (window < step or window % step):
        raise UserError(f"window={window}: expected a multiple of {step} frames, or None for the whole video")


def windows(blocks: Iterable[Tensor], window: int, step: int, trim: bool = False) -> Iterator[Tensor]:
    """Yield the first frame alone, then ``window`` frames each, of blocks (B, C, T, H, W) of any lengths.

    The last one has what is left, a multiple of ``step``.

    Raises:
        DataError: see :func:`usable_frames`; after all whole windows.
    """
    count, wanted = 0, 1
    held: list[Tensor] = []
    for block in blocks:
        held.append(block)
        while sum(part.shape[2] for part in held) >= wanted:
            whole = torch.cat(held, dim=2) if len(held) > 1 else held[0]
            yield whole[:, :, :wanted]
            held, count, wanted = [whole[:, :, wanted:]], count + wanted, window
    rest = torch.cat(held, dim=2) if held else None
    left = 0 if rest is None else rest.shape[2]
    left = usable_frames(count + left, step, trim) - count
    if rest is not None and left:
        yield rest[:, :, :left]
