"""Figure of a reconstructed image: input, reconstruction and their difference side by side."""

from __future__ import annotations

import numpy as np

from cosmos_lidar.viz.images import caption_image


def beside(frame: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    """Return input, reconstruction and four times their difference side by side, with captions.

    Args:
        frame: (H, W, 3) uint8.
        decoded: of the same shape.

    Returns:
        (H, 3 W, 3) uint8.
    """
    difference = (4 * np.abs(frame.astype(int) - decoded)).clip(0, 255).astype(np.uint8)
    titles = ("input", "reconstruction", "4 x difference")
    size = max(min(frame.shape[1] // 14, 24), 8)
    parts = zip((frame, decoded, difference), titles, strict=True)
    return np.concatenate([caption_image(part, title, size, 4) for part, title in parts], axis=1)
