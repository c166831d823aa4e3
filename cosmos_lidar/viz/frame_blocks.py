"""Data blocks of a viewer page: points, values, range maps and images of one frame as compact bytes."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field

import numpy as np

from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.sensors.camera_projection import InImage
from cosmos_lidar.viz.colormap import colormap_table
from cosmos_lidar.viz.range_map import NO_RETURN

NEAR_M, FAR_M = 2.0, 100.0  # ends of the range colors, as in all range maps of the project
_JPEG_QUALITY = 80
_VALUES = ("intensity", "label", "ring")


@dataclass
class Blocks:
    """Base64 blocks of a frame; a block is named by its number."""

    texts: list[str] = field(default_factory=list)

    def add(self, content: bytes) -> int:
        """Keep a block and return its number."""
        self.texts.append(base64.b64encode(content).decode("ascii"))
        return len(self.texts) - 1

    @property
    def size(self) -> int:
        """Bytes that the blocks take on the page."""
        return sum(len(text) for text in self.texts)


def picks(count: int, most: int) -> np.ndarray:
    """Return increasing numbers of up to ``most`` of ``count`` points, chosen at random but always the same ones.

    An even step would follow the rings or columns of the lidar and leave stripes.
    """
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def range_codes(range_m: np.ndarray) -> np.ndarray:
    """Return uint8 codes of ranges in meters: 0 = no return, 1 (up to 2 m) to 255 (from 100 m on), logarithmic."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.log(np.asarray(range_m, np.float32) / NEAR_M) / np.log(FAR_M / NEAR_M)
    codes = 1.0 + np.round(254.0 * np.clip(np.nan_to_num(share, nan=0.0, neginf=0.0, posinf=1.0), 0.0, 1.0))
    return np.where(np.asarray(range_m) > 0, codes, 0.0).astype(np.uint8)


def map_png(range_m: np.ndarray) -> bytes:
    """Return a range map (rows, columns) as a PNG whose pixels are :func:`range_codes`, with the palette for them."""
    from PIL import Image

    colors = (colormap_table("turbo_r") * 255.0 + 0.5).astype(np.uint8)
    palette = np.concatenate([[NO_RETURN], colors[np.round(np.linspace(0, 255, 255)).astype(int)]]).astype(np.uint8)
    image = Image.fromarray(range_codes(range_m))
    image.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def jpeg(image: np.ndarray, most_width: int) -> tuple[bytes, int, int]:
    """Return an image (H, W, 3) as JPEG of at most that width, with its (width, height)."""
    from PIL import Image

    photo = Image.fromarray(image)
    if photo.width > most_width:
        height = max(round(photo.height * most_width / photo.width), 1)
        photo = photo.resize((most_width, height), reducing_gap=2.0)
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue(), photo.width, photo.height


def pack_points(cloud: Sweep, most: int) -> tuple[dict, bytes]:
    """Return (description, bytes) of a cloud of points (N, 3) with values (N,), of up to ``most`` of its points.

    The bytes: x y z of each point as uint16 between ``low`` and ``low + span`` (meters), then per value of
    ``description["values"]`` one number per point at the even ``offset``, of ``bytes`` bytes: label and ring as they
    are, intensity between 0 and ``top``. All integers are little-endian.
    """
    points = np.asarray(cloud.points, np.float32)[:, :3]
    finite = np.flatnonzero(np.isfinite(points).all(axis=1))
    chosen = finite[picks(len(finite), most)]
    xyz = points[chosen]
    low = xyz.min(axis=0) if len(xyz) else np.zeros(3, np.float32)
    span = np.maximum(np.ptp(xyz, axis=0), 1e-3) if len(xyz) else np.ones(3, np.float32)
    parts = [np.round((xyz - low) / span * 65535.0).astype("<u2").tobytes()]
    values = {}
    for name in _VALUES:
        recorded = cloud.labels if name == "label" else getattr(cloud, name)
        if recorded is not None:
            packed, about = _pack_value(name, np.asarray(recorded)[chosen])
            values[name] = {"offset": sum(map(len, parts)), **about}
            parts.append(packed)
    about = {"count": len(chosen), "total": len(points), "low": low.tolist(), "span": span.tolist(), "values": values}
    return about, b"".join(parts)


def _pack_value(name: str, value: np.ndarray) -> tuple[bytes, dict]:
    if name == "intensity":
        finite = np.nan_to_num(value.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        # The 99th percentile: few retro-reflectors are brighter than all else by far.
        top = float(np.quantile(finite, 0.99)) if len(finite) else 1.0
        top = top if top > 0 else max(float(finite.max(initial=0.0)), 1.0)
        value, about = np.round(np.clip(finite / top, 0.0, 1.0) * 255.0), {"bytes": 1, "top": top}
    else:
        about = {"bytes": 1 if value.max(initial=0) < 256 else 2}
    packed = value.astype(f"<u{about['bytes']}").tobytes()
    return packed + b"\0" * (-len(packed) % 2), about


def pack_overlay(seen: InImage, range_m: np.ndarray, size: tuple[int, int], most: int) -> tuple[int, bytes]:
    """Return (count, bytes) of the visible points in an image, the farthest first so that near ones are drawn on top.

    The bytes: columns of all points, then rows, as uint16 with 65535 for the whole width or height, then range codes.

    Args:
        seen: the projected points (N,).
        range_m: (N,) meters from the lidar.
        size: (width, height) of the camera's image in pixels of ``seen.uv``.
        most: so many points at most.
    """
    visible = np.flatnonzero(seen.visible)
    chosen = visible[picks(len(visible), most)]
    chosen = chosen[np.argsort(-range_m[chosen], kind="stable")]
    share = np.clip((seen.uv[chosen] + 0.5) / np.array(size), 0.0, 1.0)
    places = np.round(share * 65535.0).astype("<u2").T
    return len(chosen), places.tobytes() + range_codes(range_m[chosen]).tobytes()
