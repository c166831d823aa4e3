"""Image of a confusion matrix: true classes by row, predicted ones by column, shares of each row as colors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cosmos_lidar.errors import UserError
from cosmos_lidar.viz.colormap import apply_colormap
from cosmos_lidar.viz.images import draw_text, text_width

_CELL_PX, _TEXT_PX, _GAP_PX = 34, 13, 6
_LIGHT, _DARK = (235, 238, 242), (20, 22, 26)


def confusion_image(counts: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return (H, W, 3) uint8 of a confusion matrix; cells show the share of their row in percent.

    Classes that neither occur nor are predicted are left out.

    Args:
        counts: (C, C) points by true class (row) and predicted class (column).
        names: of the classes.

    Raises:
        UserError: as many names as classes are missing, or no points.
    """
    if counts.shape != (len(names), len(names)):
        raise UserError(f"a confusion matrix of shape {counts.shape} and {len(names)} names: expected one per class")
    there = np.flatnonzero(counts.sum(0) + counts.sum(1))
    if not len(there):
        raise UserError("a confusion matrix without points: expected at least one labeled point")
    counts, shown = counts[np.ix_(there, there)], [names[number] for number in there.tolist()]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    left = max(text_width(name, _TEXT_PX) for name in shown) + 2 * _GAP_PX
    cells = np.repeat(np.repeat(apply_colormap(shares, "viridis"), _CELL_PX, 0), _CELL_PX, 1)
    size = len(shown) * _CELL_PX
    image = np.zeros((left + size, left + size, 3), np.uint8)
    image[:] = _DARK
    image[left:, left:] = np.round(cells[..., :3] * 255)
    image = _with_names(image, shown, left)
    for row, column in np.argwhere(shares >= 0.005):
        place = (left + column * _CELL_PX + _CELL_PX / 2, left + row * _CELL_PX + _CELL_PX / 2)
        color = _DARK if shares[row, column] > 0.6 else _LIGHT
        image = draw_text(image, f"{100 * shares[row, column]:.0f}", place, _TEXT_PX, color, "mm")
    return image


def _with_names(image: np.ndarray, names: Sequence[str], left: int) -> np.ndarray:
    """Return the image with the names of the rows on the left, and those of the columns above, turned."""
    for number, name in enumerate(names):
        middle = left + number * _CELL_PX + _CELL_PX / 2
        image = draw_text(image, name, (left - _GAP_PX, middle), _TEXT_PX, _LIGHT, "rm")
    turned = np.ascontiguousarray(np.rot90(image[:left], -1))  # columns become rows, from the left one on
    for number, name in enumerate(names):
        middle = left + number * _CELL_PX + _CELL_PX / 2
        turned = draw_text(turned, name, (_GAP_PX, middle), _TEXT_PX, _LIGHT, "lm")
    image = image.copy()
    image[:left] = np.rot90(turned)
    return image
