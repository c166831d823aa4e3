"""One Energon sample: the parts of a run of frames, packed and unpacked.

Parts of sample ``KEY``, next to each other in the tar::

    KEY.ranges.bin      range maps (cosmos_lidar.clips.range_codec)
    KEY.intensity.bin   where every frame of the run has intensities
    KEY.labels.bin      where every frame of the run has semantic labels
    KEY.meta.json       clip, frames, times, poses, sensor, checksums of the other parts

Further parts (cameras: ``KEY.NAME.mp4``) may be added without a new version; readers ignore parts they do not know.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmos_lidar.clips import range_codec
from cosmos_lidar.clips.clip import Clip, Sweep
from cosmos_lidar.errors import DataError, problem_of
from cosmos_lidar.files import parse_json
from cosmos_lidar.shards.plan import FrameSpan
from cosmos_lidar.shards.sample_meta import META, encode_meta

RANGES, INTENSITY, LABELS = "ranges.bin", "intensity.bin", "labels.bin"
META_VERSION = 1
SAMPLE_TYPE = "lidar"  # of energon_tasks.sweeps


@dataclass(frozen=True)
class BadFrame:
    """A frame that was left out: where it lies and why."""

    clip: str
    frame: str
    problem: str


@dataclass(frozen=True)
class PackedRun:
    """A sample ready to be written.

    Attributes:
        key: of the sample.
        parts: part name -> bytes, in the order of the tar; empty when no frame could be read.
        frames: frames in it.
        beyond_max_range: returns farther than the sensor's max_range_m, stored as "no return".
    """

    key: str
    parts: dict[str, bytes]
    frames: int
    beyond_max_range: int


@dataclass(frozen=True)
class SampleMeta:
    """Content of ``KEY.meta.json``: metadata of a sample.

    Attributes:
        clip_id: the clip the frames come from.
        frame_ids: the dataset's names of the frames.
        frame_numbers: places of the frames in the clip; gaps are frames that could not be read.
        timestamps_us: start and end of each sweep, microseconds.
        world_SE3_lidar: of each frame (2, 4, 4) nested lists, lidar to world at the start and the end of the sweep, or
            None where unknown; None for a clip without poses.
        sensor: name of the sensor.
        sensor_fingerprint: of its geometry and storage.
        sensor_file: sensor file, relative to the folder of the shards.
        shape: rows, columns.
        range_step_m: storage step.
        returns: number of returns of each frame.
        checksums: part name -> sha256.
    """

    clip_id: str
    frame_ids: list[str]
    frame_numbers: list[int]
    timestamps_us: list[list[int]]
    world_SE3_lidar: list | None
    sensor: str
    sensor_fingerprint: str
    sensor_file: str
    shape: list[int]
    range_step_m: float
    returns: list[int]
    checksums: dict[str, str]


@dataclass(frozen=True)
class _Frame:
    number: int
    parts: dict[str, bytes]
    returns: int
    beyond_max_range: int


def pack_run(clip: Clip, run: FrameSpan, sensor_file: str, on_frame: Callable[[BadFrame | None], None]) -> PackedRun:
    """Read the frames of a run and pack them.

    Args:
        clip: the clip that ``run`` belongs to.
        run: which frames, under which key.
        sensor_file: where the sensor lies in the folder of the shards.
        on_frame: called after each frame: with None, or with what was wrong with a frame that is left out.
    """
    frames = []
    for number in range(run.start, run.stop):
        bad = None
        try:
            frames.append(_read_frame(clip, number))
        except Exception as error:  # one odd frame ends no work on the others
            bad = BadFrame(clip.clip_id, str(clip.frame_ids[number]), problem_of(error))
        on_frame(bad)
    parts = {}
    if frames:
        names = [name for name in (RANGES, INTENSITY, LABELS) if all(name in frame.parts for frame in frames)]
        parts = {name: range_codec.join_frames([frame.parts[name] for frame in frames]) for name in names}
        parts[META] = encode_meta(_describe_run(clip, frames, parts, sensor_file), META_VERSION)
    return PackedRun(run.key, parts, len(frames), sum(frame.beyond_max_range for frame in frames))


def read_meta(data: bytes) -> SampleMeta:
    """Parse ``KEY.meta.json``.

    Raises:
        DataError: not JSON, of another version, or keys missing.
    """
    try:
        document = parse_json(data)
        version = document.pop("version")
        document.pop("tool")
        meta = SampleMeta(**document)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise DataError(f"not the description of a sample: {error}", key=META, wanted="an intact shard") from error
    texts = isinstance(meta.clip_id, str) and isinstance(meta.sensor_file, str)
    if not texts or not _lies_inside(meta.sensor_file):
        problem = f"clip {meta.clip_id!r:.80}, sensor file {meta.sensor_file!r:.80}"
        raise DataError(problem, key=META, wanted="texts; the sensor file lies in the folder of the shards")
    if version != META_VERSION:
        raise DataError(f"version {version}", key=META, wanted=f"version {META_VERSION}: prepare the shards again")
    return meta


def _lies_inside(name: str) -> bool:
    """Return whether a path stays in the folder that it is relative to."""
    return not Path(name).is_absolute() and ".." not in Path(name).parts


def verify_parts(parts: Mapping[str, bytes]) -> SampleMeta:
    """Check the parts of one sample against its description: all there, checksums right, every frame decodes.

    Raises:
        DataError: what is wrong; ``key`` is the name of the part.
    """
    if META not in parts:
        raise DataError("part missing", key=META, wanted="every sample described")
    meta = read_meta(parts[META])
    for name, checksum in meta.checksums.items():
        if name not in parts:
            raise DataError("part missing", key=name, wanted="an intact shard")
        if hashlib.sha256(parts[name]).hexdigest() != checksum:
            raise DataError("sha256 differs from the one in meta.json", key=name, wanted="an intact shard")
        _verify_frames(name, parts[name], meta)
    return meta


def _verify_frames(name: str, data: bytes, meta: SampleMeta) -> None:
    decoders = {
        RANGES: range_codec.decode_ranges,
        INTENSITY: range_codec.decode_intensities,
        LABELS: range_codec.decode_labels,
    }
    if name not in decoders:
        return
    try:
        frames = decoders[name](data)
    except DataError as error:
        raise error.at(key=name) from error
    expected = (len(meta.frame_ids), *meta.shape)
    if frames.shape != expected:
        raise DataError(f"shape {frames.shape}", key=name, wanted=f"{expected}, as in meta.json")
    returns = np.count_nonzero(frames, axis=(1, 2)).tolist()
    if name == RANGES and returns != meta.returns:
        raise DataError(f"{returns} returns", key=name, wanted=f"{meta.returns}, as in meta.json")


def _read_frame(clip: Clip, number: int) -> _Frame:
    sweep = clip.read_sweep(number)
    if sweep.range_m is not None:
        range_m, intensity, labels = sweep.range_m, sweep.intensity, sweep.labels
    else:
        finite = np.isfinite(np.asarray(sweep.points))
        if not finite.all():
            count = np.count_nonzero(~finite.all(axis=1))
            raise DataError(f"{count} points are NaN or infinite", file=clip.source, wanted="finite points")
        projection = clip.project(sweep, number)
        range_m, pixels = np.asarray(projection.range_m), np.asarray(projection.point_index)
        intensity, labels = _at_pixels(sweep.intensity, pixels), _at_pixels(sweep.labels, pixels)
    for name, layer in (("range_m", range_m), ("intensity", intensity), ("labels", labels)):
        if layer is not None and np.shape(layer) != clip.sensor.shape:
            wanted = f"{clip.sensor.shape}, as sensor {clip.sensor.name}"
            raise DataError(f"shape {np.shape(layer)}", file=clip.source, clip=clip.clip_id, key=name, wanted=wanted)
    near_m, beyond = _drop_beyond(range_m, clip.sensor.max_range_m)
    _refuse_empty(near_m, sweep, beyond, clip)
    parts = _encode_frame(clip, {RANGES: near_m, INTENSITY: intensity, LABELS: labels})
    return _Frame(number, parts, int(np.count_nonzero(near_m)), beyond)


def _refuse_empty(range_m: np.ndarray, sweep: Sweep, beyond: int, clip: Clip) -> None:
    if np.any(range_m):
        return
    count = 0 if sweep.points is None else len(sweep.points)
    problem = f"no return in the range map: {beyond} beyond {clip.sensor.max_range_m:g} m, {count} points in the sweep"
    raise DataError(problem, file=clip.source, clip=clip.clip_id, wanted="a sweep with returns, of this sensor")


def _drop_beyond(range_m: np.ndarray, max_range_m: float) -> tuple[np.ndarray, int]:
    """Return the map with 0 for returns beyond the sensor's reach, and their number; NaN and infinity stay in it."""
    if range_m.dtype.kind != "f":
        return range_m, 0
    beyond = (range_m > max_range_m) & np.isfinite(range_m)
    count = int(np.count_nonzero(beyond))
    return (np.where(beyond, range_m.dtype.type(0), range_m) if count else range_m), count


def _at_pixels(values: np.ndarray | None, point_index: np.ndarray) -> np.ndarray | None:
    """Spread values of points to the pixels they fell into; 0 where no point did."""
    if values is None:
        return None
    if not len(values):
        return np.zeros(point_index.shape, values.dtype)
    return np.where(point_index >= 0, values[point_index], values.dtype.type(0))


def _encode_frame(clip: Clip, layers: Mapping[str, np.ndarray | None]) -> dict[str, bytes]:
    encoders = {
        RANGES: lambda frames: range_codec.encode_ranges(frames, clip.sensor.range_step_m),
        INTENSITY: range_codec.encode_intensities,
        LABELS: range_codec.encode_labels,
    }
    try:
        return {name: encoders[name](layer[None]) for name, layer in layers.items() if layer is not None}
    except DataError as error:
        raise error.at(file=clip.source, clip=clip.clip_id) from error


def _describe_run(clip: Clip, frames: Sequence[_Frame], parts: Mapping[str, bytes], sensor_file: str) -> SampleMeta:
    numbers = [frame.number for frame in frames]
    return SampleMeta(
        clip_id=clip.clip_id,
        frame_ids=[str(clip.frame_ids[number]) for number in numbers],
        frame_numbers=numbers,
        timestamps_us=np.asarray(clip.timestamps_us, np.int64)[numbers].tolist(),
        world_SE3_lidar=_known_poses(clip, numbers),
        sensor=clip.sensor.name,
        sensor_fingerprint=clip.sensor.fingerprint(),
        sensor_file=sensor_file,
        shape=list(clip.sensor.shape),
        range_step_m=clip.sensor.range_step_m,
        returns=[frame.returns for frame in frames],
        checksums={name: hashlib.sha256(data).hexdigest() for name, data in parts.items()},
    )


def _known_poses(clip: Clip, numbers: Sequence[int]) -> list | None:
    if clip.world_SE3_lidar is None:
        return None
    poses = np.asarray(clip.world_SE3_lidar, np.float64)[numbers]
    return [pose.tolist() if np.isfinite(pose).all() else None for pose in poses]
