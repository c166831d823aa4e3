"""The sample format of latents in Energon shards: one encoded clip or canvas a sample, for latent diffusion.

    KEY.latent.npy    latent (C, T, H, W)
    KEY.text.npy      text embedding (M, D), optional
    KEY.rays.npy      rays of the tokens (T, rows, columns, 6), optional
    KEY.meta.json     ``clip_id`` and whatever else is known

Arrays are float16 or float32.
"""

from __future__ import annotations

import io

import numpy as np
from torch import Tensor

LATENTS = "latents.json"
SAMPLE_TYPE = "latents"  # of energon_tasks.latents
LATENT, TEXT, RAYS, META = "latent.npy", "text.npy", "rays.npy", "meta.json"


def pack_canvas(canvas: Tensor, rays: np.ndarray | None) -> dict[str, bytes]:
    """Return the parts of a sample, half floats.

    Args:
        canvas: (C, 1 + views, H, W) latents.
        rays: (1 + views, rows, columns, 6) of the tokens, or None.
    """
    parts = {LATENT: half_bytes(canvas.numpy())}
    if rays is not None:
        parts[RAYS] = half_bytes(rays)
    return parts


def half_bytes(array: np.ndarray) -> bytes:
    """Return an array as a float16 npy file."""
    return array_bytes(array.astype(np.float16))


def array_bytes(array: np.ndarray) -> bytes:
    """Return an array as a npy file of its own dtype."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()
