"""Canvases of latents as Energon shards: what training of camera-to-lidar diffusion reads."""

from __future__ import annotations

import io

import numpy as np
from torch import Tensor

LATENTS = "latents.json"
SAMPLE_TYPE = "latents"  # of energon_tasks.latents


def pack_canvas(canvas: Tensor, rays: np.ndarray | None) -> dict[str, bytes]:
    """Return the parts of a sample, half floats.

    Args:
        canvas: (C, 1 + views, H, W) latents.
        rays: (1 + views, rows, columns, 6) of the tokens, or None.
    """
    parts = {"latent.npy": half_bytes(canvas.numpy())}
    if rays is not None:
        parts["rays.npy"] = half_bytes(rays)
    return parts


def half_bytes(array: np.ndarray) -> bytes:
    """Return an array as a float16 npy file."""
    stream = io.BytesIO()
    np.save(stream, array.astype(np.float16))
    return stream.getvalue()
