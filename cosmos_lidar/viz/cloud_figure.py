"""Interactive point-cloud figures (HTML, WebGL): eight bytes per point, any number of frames."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from cosmos_lidar.errors import UserError
from cosmos_lidar.viz.colormap import colormap_table
from cosmos_lidar.viz.point_cloud import ORIGINAL_COLOR, RECONSTRUCTION_COLOR

_UNKNOWN_ERROR = 65535
_KIND_NAMES = {"height": "Height", "range": "Range", "error": "Error", "plain": "Plain"}
_HELP = (
    "Drag to turn, drag with the right button or two fingers to move, wheel (after a click) or pinch to zoom. "
    "Keys: arrows turn, W A S D move, + and − zoom, [ and ] change the frame, R resets."
)


@dataclass(frozen=True)
class Cloud:
    """One panel of one frame.

    Attributes:
        name: shown in the panel, such as ``"Original"``.
        points: (N, >=3) meters, x forward, y left, z up, sensor at the origin.
        error_m: (N,) meters, what "Error" colors show; NaN where unknown; None when the cloud has none.
    """

    name: str
    points: np.ndarray
    error_m: np.ndarray | None = None


@dataclass(frozen=True)
class CloudFrame:
    """The panels of one frame, side by side; every frame of a figure has the same number of them."""

    title: str
    clouds: Sequence[Cloud]


def clouds_html(frames: Sequence[CloudFrame], caption: str = "", most_points: int = 60_000) -> str:
    """Return the HTML of an interactive figure of the clouds of all frames.

    Args:
        frames: at least one.
        caption: shown below, before the help on mouse and keys.
        most_points: larger clouds are thinned evenly to that many points; the number shown is the full one.

    Raises:
        UserError: no frames, frames with different numbers of clouds, or errors that do not match the points.
    """
    frames = list(frames)
    if not frames or not frames[0].clouds:
        raise UserError("a point-cloud figure needs at least one frame with one cloud")
    if len({len(frame.clouds) for frame in frames}) > 1:
        raise UserError("all frames of a point-cloud figure need the same number of clouds")
    about, packed = _pack([[_thinned(cloud, most_points) for cloud in frame.clouds] for frame in frames], frames)
    about_json = json.dumps(about).replace("<", "\\u003c")
    names = "".join(f'<div class="name">{escape(cloud.name)}</div>' for cloud in frames[0].clouds)
    return (
        f'<figure class="card clouds">{_tools(about["kinds"], frames)}<div class="stage">'
        f'<canvas tabindex="0" role="img" aria-label="Point clouds that can be turned. {_HELP}"></canvas>{names}</div>'
        f'<div class="legend">{_scale()}</div><figcaption>{escape(caption)} {_HELP}</figcaption>'
        f'<script type="application/json">{about_json}</script>'
        f'<script type="application/base64">{base64.b64encode(packed).decode("ascii")}</script></figure>'
    )


def color_table_html() -> str:
    """Return the color table that the viewer reads, once per page: 256 RGB triplets."""
    table = (colormap_table("turbo") * 255.0 + 0.5).astype(np.uint8)
    text = base64.b64encode(table.tobytes()).decode("ascii")
    return f'<script type="application/base64" id="color-table">{text}</script>'


def gradient_css(colormap: str = "turbo") -> str:
    """Return a CSS gradient of the color map from its first to its last color."""
    table = (colormap_table(colormap)[:: 255 // 15] * 255.0 + 0.5).astype(int)
    return "linear-gradient(90deg," + ",".join(f"rgb({r},{g},{b})" for r, g, b in table) + ")"


def _thinned(cloud: Cloud, most: int) -> np.ndarray:
    """Return (n, 4) float32: x, y, z, error (NaN = unknown), without points that are not finite."""
    points = np.asarray(cloud.points, np.float32)
    if points.ndim != 2 or points.shape[1] < 3:
        raise UserError(f"points have the shape (N, 3 or more), this array {points.shape}")
    error = np.full(len(points), np.nan, np.float32) if cloud.error_m is None else np.asarray(cloud.error_m, np.float32)
    if error.shape != (len(points),):
        raise UserError(f"cloud {cloud.name!r}: {len(points)} points but errors of shape {error.shape}")
    rows = np.column_stack([points[:, :3], error])
    rows = rows[np.isfinite(points[:, :3]).all(axis=1)]
    if len(rows) > most:
        rows = rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
    return rows


def _pack(rows: list[list[np.ndarray]], frames: list[CloudFrame]) -> tuple[dict, bytes]:
    everything = np.concatenate([cloud for frame in rows for cloud in frame])
    xyz = everything[:, :3] if len(everything) else np.zeros((1, 3), np.float32)
    low, span = xyz.min(axis=0), np.maximum(np.ptp(xyz, axis=0), 1e-3)
    known = everything[:, 3][np.isfinite(everything[:, 3])]
    max_error = max(float(known.max(initial=0.0)), 1e-3)
    quantised = np.empty((len(everything), 4), "<u2")
    if len(everything):
        quantised[:, :3] = np.round((xyz - low) / span * 65535.0)
    share = np.nan_to_num(np.abs(everything[:, 3]) / max_error * (_UNKNOWN_ERROR - 1), nan=_UNKNOWN_ERROR)
    quantised[:, 3] = np.round(share)
    about = {
        "low": low.tolist(), "span": span.tolist(), "maxError": max_error * 65535.0 / (_UNKNOWN_ERROR - 1),
        "shownError": float(f"{np.quantile(known, 0.98):.2g}") or max_error if known.size else 1.0,
        "kinds": ["height", "range", *(["error"] if known.size else []), "plain"],
        "frames": _describe(rows, frames), **stage_of(xyz),
    }  # fmt: skip
    return about, quantised.tobytes()


def stage_of(xyz: np.ndarray) -> dict:
    """Return colors, rings and initial camera pose for points (N, 3), from their extent, as the viewers read them."""
    xyz = xyz if len(xyz) else np.zeros((1, 3), np.float32)
    radius = np.linalg.norm(xyz[:, :2], axis=1)
    reach = float(np.quantile(radius, 0.9))
    near = xyz[radius <= np.quantile(radius, 0.5), 2]
    ground = float(np.quantile(near, 0.1))
    ring = next((step for step in (1.0, 2.0, 5.0, 10.0) if 5 * step >= reach), 20.0)
    top = float(np.quantile(xyz[:, 2], 0.99))
    heights = [round(ground - 1.0, 1), round(max(min(top, ground + 8.0), ground + 1.0), 1)]
    return {"ground": ground, "ring": ring, "distance": float(np.clip(1.6 * reach, 5.0, 80.0)), "heights": heights}


def _describe(rows: list[list[np.ndarray]], frames: list[CloudFrame]) -> list[dict]:
    out, offset = [], 0
    plain = (ORIGINAL_COLOR, RECONSTRUCTION_COLOR)
    for frame, clouds in zip(frames, rows, strict=True):
        described = []
        for index, (cloud, packed) in enumerate(zip(frame.clouds, clouds, strict=True)):
            described.append({"name": cloud.name, "count": len(packed), "total": len(cloud.points), "offset": offset,
                              "plain": plain[min(index, 1)]})  # fmt: skip
            offset += len(packed)
        out.append({"title": frame.title, "clouds": described})
    return out


def _tools(kinds: list[str], frames: list[CloudFrame]) -> str:
    buttons = "".join(f'<button type="button" data-kind="{kind}">{_KIND_NAMES[kind]}</button>' for kind in kinds)
    slider = ""
    if len(frames) > 1:
        slider = (
            f'<label class="frames">Frame<input type="range" min="0" max="{len(frames) - 1}" value="0" step="1">'
            f"<output>{escape(frames[0].title)}</output></label>"
        )
    return (
        f'<div class="tools">{slider}<div class="segments" role="group" aria-label="Colors">{buttons}</div>'
        '<label class="size">Point size<input type="range" min="1" max="6" step="0.5" value="2"></label>'
        '<button type="button" class="plain reset">Reset view</button></div>'
    )


def _scale() -> str:
    ticks = "".join(f'<span style="left:{at}%"></span>' for at in (0, 50, 100))
    bar = f'<div class="bar" style="background:{gradient_css()}"></div>'
    return f'<div class="scale">{bar}<div class="ticks">{ticks}</div></div>'
