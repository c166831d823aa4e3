"""Image features beside the points of a sweep in shards of type ``points``, for distillation from image networks.

KEY.image_places.npy     (N, 3) float32 number of the map of each point, or -1; its place in the image, 0 to 1
KEY.image_features0.npy  (h, w, D) float16 map of the first image; then 1, 2 … of further ones
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cosmos_lidar.arrays import read_npy
from cosmos_lidar.clips.image_features import MOST_BYTES, MOST_CAMERAS, SweepFeatures
from cosmos_lidar.errors import DataError
from cosmos_lidar.shards.latents import array_bytes

PLACES = "image_places.npy"
_WANTED = "shards of `cosmos-lidar prepare --task points --image-features`"


def map_part(number: int) -> str:
    """Return the name of the part of a map."""
    return f"image_features{number}.npy"


def pack_image_features(found: SweepFeatures) -> dict[str, bytes]:
    """Return the parts of a sweep's image features."""
    maps = {map_part(number): array_bytes(one) for number, one in enumerate(found.maps)}
    return {PLACES: array_bytes(found.places), **maps}


def read_image_features(parts: Mapping[str, bytes], points: int) -> SweepFeatures | None:
    """Return the image features of a sample; None where it has none.

    Args:
        parts: of the sample, by name.
        points: of the sweep.

    Raises:
        DataError: parts that are broken, or do not fit each other or the points.
    """
    if PLACES not in parts:
        return None
    names = [map_part(number) for number in range(MOST_CAMERAS) if map_part(number) in parts]
    places, *maps = (_read(parts, name) for name in (PLACES, *names))
    channels = {one.shape[2:] for one in maps}
    if len(channels) != 1 or any(one.ndim != 3 or 0 in one.shape or one.dtype.kind != "f" for one in maps):
        found = ", ".join(f"{one.dtype} {one.shape}" for one in maps) or "no maps"
        raise DataError(found, key=map_part(0), wanted="maps (h, w, D) of floats, of one D")
    if places.shape != (points, 3) or places.dtype.kind != "f" or not np.isfinite(places).all():
        raise DataError(f"{places.dtype} of shape {places.shape}", key=PLACES, wanted=f"finite floats ({points}, 3)")
    if not (np.isin(places[:, 0], np.arange(-1, len(maps)))).all():
        raise DataError("a point in a map that is not there", key=PLACES, wanted=f"-1 to {len(maps) - 1}")
    return SweepFeatures(maps, places)


def image_channels(parts: Mapping[str, bytes]) -> int | None:
    """Return D of the image features of a sample; None where it has none, or they cannot be read."""
    try:
        return int(_read(parts, map_part(0)).shape[-1]) if map_part(0) in parts else None
    except DataError:
        return None


def _read(parts: Mapping[str, bytes], name: str) -> np.ndarray:
    try:
        return read_npy(parts[name], limit=MOST_BYTES)
    except DataError as error:
        raise error.at(key=name) from error
