"""Point clouds of lidar sweeps in Energon shards: the sample format of sparse networks, one sweep a sample.

Parts of sample ``KEY``, next to each other in the tar::

    KEY.points.npy      (N, 3) float32 meters, in the axes of the lidar (x forward, y left, z up), all returns
    KEY.intensity.npy   (N,) float32 in the units of the dataset, where the recording has it
    KEY.time.npy        (N,) int32 microseconds after the start of the sweep, where the recording has them
    KEY.labels.npy      (N,) uint8 or uint16 semantic classes, numbers of the dataset, where the recording has them
    KEY.meta.json       clip, frame, pose, origins of the rays

``points.json`` describes the folder. :mod:`cosmos_lidar.shards.point_images` has the parts of image features.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cosmos_lidar.arrays import read_npy
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.files import parse_json, read_text
from cosmos_lidar.shards.facts import agree, first_sample
from cosmos_lidar.shards.point_images import image_channels
from cosmos_lidar.shards.sample_meta import META, decode_meta, encode_meta
from cosmos_lidar.shards.sources import Part, Sources

DOCUMENT = "points.json"
SAMPLE_TYPE = "points"  # of energon_tasks.points
POINTS = "points.npy"
VALUES = {"intensity": "f", "time": "i", "labels": "u"}  # of each point: name -> kind of its numbers
MOST_POINTS = 1 << 22  # of a sweep: 16 times those of a lidar of 128 beams with two returns
_VERSION = 1
_WANTED = "a folder that `cosmos-lidar prepare --task points` wrote"


@dataclass(frozen=True, kw_only=True)
class PointsMeta:
    """Content of ``KEY.meta.json``.

    Attributes:
        clip_id: the clip that the sweep comes from.
        frame_id: the dataset's name of the sweep.
        frame_number: its place in the clip.
        timestamps_us: start and end of the sweep, microseconds.
        world_SE3_lidar: (4, 4) nested lists, axes of the points to world: of motion-compensated points at the time of
            their axes, of others in the middle of the sweep; None where unknown.
        origins_m: (L, 3) where the lidars stand in the axes of the points: the ends of all rays.
        dataset: name of the reader, whose numbers the labels are.
        sensor: name of the lidar's geometry.
        points: number of points.
    """

    clip_id: str
    frame_id: str
    frame_number: int
    timestamps_us: list[int]
    world_SE3_lidar: list[list[float]] | None
    origins_m: list[list[float]]
    dataset: str
    sensor: str
    points: int


class PointSweep(NamedTuple):
    """The content of a sample.

    Attributes:
        meta: what is known of the sweep.
        points: (N, 3) float32 meters.
        values: (N,) arrays by name, those of ``VALUES`` that are there.
    """

    meta: PointsMeta
    points: np.ndarray
    values: dict[str, np.ndarray]


def sample_key(clip_id: str, number: int) -> str:
    """Return the key of a sweep by its place in the clip."""
    return f"{clip_id}_{number:06d}"


def value_part(name: str) -> str:
    """Return the name of the part that holds a value of the points, such as ``labels.npy``."""
    return f"{name}.npy"


def write_meta(meta: PointsMeta) -> bytes:
    """Return the content of ``KEY.meta.json``."""
    return encode_meta(meta, _VERSION)


def read_meta(content: bytes) -> PointsMeta:
    """Parse ``KEY.meta.json``.

    Raises:
        DataError: not JSON, of another version, or fields that are missing or of another kind.
    """
    return decode_meta(content, _VERSION, _make_meta, "sweep")


def _make_meta(document: dict[str, Any]) -> PointsMeta:
    meta = PointsMeta(**document)
    _check(meta)
    return meta


def _check(meta: PointsMeta) -> None:
    """Raise ValueError or TypeError for a description whose fields are of another kind."""
    if not all(isinstance(text, str) for text in (meta.clip_id, meta.frame_id, meta.dataset, meta.sensor)):
        raise TypeError("names that are no texts")
    if type(meta.points) is not int or not 0 < meta.points <= MOST_POINTS:
        raise ValueError(f"{meta.points!r:.40} points")
    for numbers, shape in ((meta.world_SE3_lidar, (4, 4)), (meta.origins_m, (len(meta.origins_m), 3))):
        if numbers is not None and np.asarray(numbers, np.float64).shape != shape:
            raise ValueError(f"{numbers!r:.80}, expected {shape}")


def read_sweep(parts: Mapping[str, bytes], values: Iterable[str] = tuple(VALUES)) -> PointSweep:
    """Return the content of a sample.

    Args:
        parts: of the sample, by name.
        values: of the points that are read, where they are there.

    Raises:
        DataError: parts missing or broken, values of another number than points, or points that are not finite.
    """
    for part in (POINTS, META):
        if part not in parts:
            raise DataError("part missing", key=part, wanted="shards of `cosmos-lidar prepare --task points`")
    meta = read_meta(parts[META])
    points = _read_array(parts[POINTS], POINTS, (meta.points, 3), "f")
    if not np.isfinite(points).all():
        raise DataError("coordinates that are not finite", clip=meta.clip_id, key=POINTS, wanted="meters")
    there = [name for name in values if value_part(name) in parts]
    found = {
        name: _read_array(parts[value_part(name)], value_part(name), (meta.points,), VALUES[name]) for name in there
    }
    return PointSweep(meta, points, found)


def _read_array(content: bytes, part: str, shape: tuple[int, ...], kind: str) -> np.ndarray:
    try:
        array = read_npy(content, limit=MOST_POINTS * 12)
    except DataError as error:
        raise error.at(key=part) from error
    if array.shape != shape or array.dtype.kind != kind:
        kinds = {"f": "floats", "i": "integers", "u": "unsigned integers"}
        raise DataError(f"{array.dtype} of shape {array.shape}", key=part, wanted=f"{kinds[kind]} of shape {shape}")
    return array


@dataclass(frozen=True)
class PointsFacts:
    """What the sweeps of all folders of a split have in common.

    Attributes:
        values: that their points have, such as ``intensity``.
        dataset: whose numbers the labels are: name of the reader.
        image_channels: of image features, D; None where a first sample has none.
    """

    values: tuple[str, ...]
    dataset: str
    image_channels: int | None = None


def read_points_facts(sources: Sources, needed: Iterable[str] = ()) -> PointsFacts:
    """Return what the folders have in common, by the first sample of each.

    Args:
        sources: folders of points.
        needed: values that the points must have, such as ``labels``.

    Raises:
        DataError: a shard that is missing or damaged.
        UserError: a folder lacks a value, or labels of different datasets are mixed.
    """
    sources.expect(SAMPLE_TYPE)
    facts = {part.folder: _first_facts(part) for part in sources.parts}
    for folder, found in facts.items():
        missing = [name for name in needed if name not in found.values]
        if missing:
            there = ", ".join(found.values) or "none"
            raise UserError(f"{folder}: its points have no {missing[0]}; values in its first sample: {there}")
    if "labels" in needed:
        agree(((folder, {"dataset": found.dataset}) for folder, found in facts.items()), "labels of points")
    common = [name for name in VALUES if all(name in found.values for found in facts.values())]
    channels = {found.image_channels for found in facts.values()}
    same = channels.pop() if len(channels) == 1 else None
    return PointsFacts(tuple(common), next(iter(facts.values())).dataset, same)


def _first_facts(part: Part) -> PointsFacts:
    parts = first_sample(part)
    if META not in parts:
        raise DataError("part missing in the first sample", file=part.folder, key=META, wanted=_WANTED)
    there = tuple(name for name in VALUES if value_part(name) in parts)
    return PointsFacts(there, read_meta(parts[META]).dataset, image_channels(parts))


def read_document(folder: Path) -> dict[str, object]:
    """Return what ``points.json`` holds: clips of each split, shards, sweeps that were left out.

    Raises:
        DataError: it is missing or cannot be read.
    """
    path = folder / DOCUMENT
    try:
        document = parse_json(read_text(path))
    except (OSError, ValueError) as error:
        raise DataError(f"not readable: {error!r:.160}", file=path, wanted=_WANTED) from error
    if not isinstance(document, dict):
        raise DataError("not a mapping", file=path, wanted=_WANTED)
    return document
