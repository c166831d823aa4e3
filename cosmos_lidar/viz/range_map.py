"""Range maps as color images (near warm, far cold), with a color bar in meters."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cosmos_lidar.errors import UserError
from cosmos_lidar.viz.colormap import apply_colormap
from cosmos_lidar.viz.images import caption_image, draw_text, resize_rows, stack_images, text_width, to_uint8

NO_RETURN = (22, 25, 31)
MISSED = (232, 60, 190)
INVENTED = (245, 245, 245)
_BAR_HEIGHT_PX = 34


class RangeLimits(NamedTuple):
    """The ranges, in meters, that get the two ends of a color map."""

    near_m: float
    far_m: float


def quantile_limits(range_m: np.ndarray) -> RangeLimits:
    """Return the limits of the published coloring: the 0.01 quantile of the returns and the 0.99 one of all pixels.

    Empty pixels count as 0 m in the far quantile, as published. A map without returns gets 1 and 100 m.
    """
    range_m = np.asarray(range_m, np.float32)
    returns = range_m[range_m > 0]
    if not returns.size:
        return RangeLimits(1.0, 100.0)
    near, far = float(np.quantile(returns, 0.01)), float(np.quantile(range_m, 0.99))
    return RangeLimits(near, max(far, near * 1.001))


def published_colors(
    range_m: np.ndarray, colormap: str = "Spectral", near_m: float | None = None, far_m: float | None = None
) -> np.ndarray:
    """Return (..., 3) float32 colors in [0, 1]: the published coloring of range maps.

    Args:
        range_m: (..., rows, columns) meters, 0 = no return; of several maps the middle one sets the limits.
        colormap: a name of :data:`cosmos_lidar.viz.colormap.COLORMAPS`.
        near_m: range of the last color; a quantile of the map when None (see :func:`quantile_limits`).
        far_m: range of the first color; a quantile of the map when None.
    """
    range_m = np.asarray(range_m, np.float32)
    middle = range_m[len(range_m) // 2] if range_m.ndim > 2 else range_m
    limits = quantile_limits(middle) if near_m is None or far_m is None else RangeLimits(near_m, far_m)
    near, far = np.log(near_m or limits.near_m), np.log(far_m or limits.far_m)
    with np.errstate(divide="ignore"):
        value = 1.0 - (np.log(range_m) - near) / (far - near)
    colors = apply_colormap(np.clip(value, 0.0, 1.0), colormap)
    colors[~(range_m > 0)] = 0.82
    return colors


def range_colors(
    range_m: np.ndarray, colormap: str = "turbo", near_m: float = 2.0, far_m: float = 100.0, log: bool = True
) -> np.ndarray:
    """Return (..., 3) uint8 colors of ranges in meters: the last color at ``near_m``, the first at ``far_m``.

    Pixels without a return (0, NaN) are nearly black.
    """
    if not 0 < near_m < far_m:
        raise UserError(f"near_m {near_m} and far_m {far_m}: expected 0 < near_m < far_m")
    range_m = np.asarray(range_m, np.float32)
    scale = np.log if log else np.asarray
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (scale(range_m) - scale(near_m)) / (scale(far_m) - scale(near_m))
    colors = (apply_colormap(1.0 - value, colormap) * 255.0 + 0.5).astype(np.uint8)
    colors[~(range_m > 0)] = NO_RETURN
    return colors


def bar_ticks_m(near_m: float, far_m: float) -> list[float]:
    """Return round ranges between the two limits, from 1, 2, 5, 10, 20, 50 and so on."""
    decades = range(int(np.floor(np.log10(near_m))), int(np.ceil(np.log10(far_m))) + 1)
    ticks = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    return [tick for tick in ticks if near_m * 0.999 <= tick <= far_m * 1.001]


def color_bar(width: int, colormap: str, near_m: float, far_m: float, log: bool = True) -> np.ndarray:
    """Return (34, width, 3) uint8: a bar from near to far with its ranges in meters below."""
    margin = min(28, width // 8)
    span = max(min(width - 2 * margin, 720), 1)
    at = np.linspace(0.0, 1.0, span)
    bar = np.empty((_BAR_HEIGHT_PX, width, 3), np.uint8)
    bar[:] = NO_RETURN
    ranges = near_m * (far_m / near_m) ** at if log else near_m + (far_m - near_m) * at
    bar[6:15, margin : margin + span] = range_colors(np.clip(ranges, near_m, far_m), colormap, near_m, far_m, log)
    free_from = 0.0
    for tick in bar_ticks_m(near_m, far_m):
        share = np.log(tick / near_m) / np.log(far_m / near_m) if log else (tick - near_m) / (far_m - near_m)
        label, x = f"{tick:g} m", margin + share * (span - 1)
        half = text_width(label, 11) / 2
        if x - half < free_from or x + half > width:
            continue
        free_from = x + half + 6
        bar[15:18, round(x)] = (150, 156, 168)
        bar = draw_text(bar, label, (x, 19), 11, (200, 205, 214), anchor="ma")
    return bar


def range_map_image(
    range_m: np.ndarray,
    *,
    colormap: str = "turbo",
    near_m: float | None = None,
    far_m: float | None = None,
    log: bool = True,
    bar: bool = True,
    row_scale: int = 1,
    caption: str | None = None,
) -> np.ndarray:
    """Return (H, W, 3) uint8: one range map as an image.

    Args:
        range_m: (rows, columns) meters, 0 = no return.
        colormap: a name of :data:`cosmos_lidar.viz.colormap.COLORMAPS`.
        near_m: range of the warm end; 2 m when None.
        far_m: range of the cold end; 100 m when None.
        log: equal ratios of range get equal steps of color, otherwise equal differences.
        bar: a color bar in meters is put below.
        row_scale: each row is drawn that many pixels high.
        caption: text for the upper left corner.

    Raises:
        UserError: ``range_m`` is not (rows, columns), or the limits are not 0 < near < far.
    """
    range_m = np.asarray(range_m)
    if range_m.ndim != 2:
        raise UserError(f"a range map has the shape (rows, columns), this array {range_m.shape}")
    near_m, far_m = 2.0 if near_m is None else near_m, 100.0 if far_m is None else far_m
    image = resize_rows(range_colors(range_m, colormap, near_m, far_m, log), row_scale)
    image = caption_image(image, caption, 14, 4) if caption else image
    return stack_images([image, color_bar(range_m.shape[1], colormap, near_m, far_m, log)]) if bar else image


def error_map_image(
    original_m: np.ndarray,
    reconstructed_m: np.ndarray,
    *,
    max_error_m: float = 1.0,
    colormap: str = "viridis",
    row_scale: int = 1,
) -> np.ndarray:
    """Return (H, W, 3) uint8: the absolute range error, ``max_error_m`` and more at the last color.

    A lost return is magenta (``MISSED``), a spurious one is white (``INVENTED``).

    Args:
        original_m: (rows, columns) meters, 0 = no return.
        reconstructed_m: likewise, of the same shape.
        max_error_m: the error of the last color.
        colormap: a name of :data:`cosmos_lidar.viz.colormap.COLORMAPS`.
        row_scale: each row is drawn that many pixels high.
    """
    original_m, reconstructed_m = np.asarray(original_m, np.float32), np.asarray(reconstructed_m, np.float32)
    if original_m.shape != reconstructed_m.shape or original_m.ndim != 2:
        raise UserError(f"expected two range maps of one shape, got {original_m.shape} and {reconstructed_m.shape}")
    here, there = original_m > 0, reconstructed_m > 0
    image = to_uint8(apply_colormap(np.abs(reconstructed_m - original_m) / max_error_m, colormap))
    image[~here & ~there] = NO_RETURN
    image[here & ~there] = MISSED
    image[~here & there] = INVENTED
    return resize_rows(image, row_scale)
