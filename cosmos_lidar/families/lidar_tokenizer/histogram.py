"""The histogram of range errors as an image, drawn without a plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cosmos_lidar.metrics.lidar import RangeResult
from cosmos_lidar.viz.images import font

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

_LEFT, _TOP, _RIGHT, _BOTTOM = 90, 60, 770, 420
_INK, _GRID, _BAR = (30, 30, 30), (222, 222, 222), (31, 119, 180)


def histogram_image(result: RangeResult, histogram_max_m: float, title: str) -> np.ndarray:
    """Return (480, 800, 3) uint8: pixels per bin of the absolute range error, on a logarithmic axis.

    Args:
        result: metrics whose histogram is drawn; the three headline numbers go below the title.
        histogram_max_m: end of the horizontal axis.
        title: first line, such as the clip's name.
    """
    from PIL import Image, ImageDraw

    canvas = Image.new("RGB", (800, 480), "white")
    pen = ImageDraw.Draw(canvas)
    errors = result.published
    numbers = f"RMSE {errors.rmse_m:.4f} m   MAE {errors.mae_m:.4f} m   relative {errors.relative:.5f}"
    pen.text((400, 10), title, fill=_INK, font=font(16), anchor="ma")
    over = f"   (> {histogram_max_m:g} m: {result.histogram_overflow})" if result.histogram_overflow else ""
    pen.text((400, 34), numbers + over, fill=_INK, font=font(14), anchor="ma")
    top = max(1.0, np.ceil(np.log10(max(result.histogram) + 1.0)))
    _draw_axes(pen, histogram_max_m, int(top))
    _draw_bars(pen, result.histogram, top)
    pen.text(((_LEFT + _RIGHT) // 2, 450), "absolute range error (m)", fill=_INK, font=font(14), anchor="ma")
    return np.array(canvas)


def _draw_axes(pen: ImageDraw, max_m: float, decades: int) -> None:
    for share in np.linspace(0.0, 1.0, 6):
        x = _LEFT + share * (_RIGHT - _LEFT)
        pen.line((x, _TOP, x, _BOTTOM), fill=_GRID)
        pen.text((x, _BOTTOM + 8), f"{share * max_m:g}", fill=_INK, font=font(12), anchor="ma")
    for decade in range(decades + 1):
        y = _BOTTOM - decade / decades * (_BOTTOM - _TOP)
        pen.line((_LEFT, y, _RIGHT, y), fill=_GRID)
        pen.text((_LEFT - 8, y), f"{10**decade:,}", fill=_INK, font=font(12), anchor="rm")
    pen.text((_LEFT - 8, _TOP - 22), "pixels", fill=_INK, font=font(12), anchor="rm")
    pen.line((_LEFT, _TOP, _LEFT, _BOTTOM, _RIGHT, _BOTTOM), fill=_INK)


def _draw_bars(pen: ImageDraw, counts: Sequence[int], decades: float) -> None:
    width = (_RIGHT - _LEFT) / len(counts)
    for index, count in enumerate(counts):
        if count:
            # log(1 + n) instead of log(n): a bin of one pixel is still seen.
            height = max(np.log10(count + 1.0) / decades * (_BOTTOM - _TOP), 1.0)
            left, right = round(_LEFT + index * width), round(_LEFT + (index + 1) * width)
            pen.rectangle((left, _BOTTOM - height, right - 1, _BOTTOM - 1), fill=_BAR)
