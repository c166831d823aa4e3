"""The layout of the published Cosmos lidar release, with what it lacks (sensor, labels, times) beside it.

Ranges are float16 as published (step 62.5 mm from 64 m on), so is intensity; images are H.264. Of points only those are
written that are nearest in their pixel, moved to where the lidar saw them where they were compensated for motion.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.clips.clip import Clip, LidarStream
from cosmos_lidar.clips.cut import cut_frames
from cosmos_lidar.clips.files import clean_id
from cosmos_lidar.clips.nearest import nearest_numbers
from cosmos_lidar.clips.readers.release.sweeps import BESIDE
from cosmos_lidar.clips.sweep import RETURN_VALUES
from cosmos_lidar.clips.video import write_mp4
from cosmos_lidar.clips.writers._contract import Losses, Progress, WriteOptions, Written
from cosmos_lidar.clips.writers._objects import write_objects
from cosmos_lidar.clips.writers._range_maps import as_range_image
from cosmos_lidar.clips.writers._staged import Staged
from cosmos_lidar.clips.writers._tar_members import add_npy, add_npz
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.log import logger
from cosmos_lidar.sensors.ftheta import FThetaCamera
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.sensors.sensor import Sensor, load_sensor

DESCRIPTION = "the published Cosmos lidar release: sparse range maps in tars, poses, H.264 videos"
HOLDS = (
    frozenset(
        ("range_image", "intensity", "labels", "instance", "time_us", "names", "sensor", "frame_ids", "times", "poses")
    )
    | frozenset(("mounting", "lidars", "images", "lens", "camera_times", "camera_poses", "camera_mounting"))
    | frozenset(("boxes", "lane_lines"))
)

_LARGEST_HALF = 65504  # of float16


def begin(clips: Sequence[Clip], folder: Path) -> None:
    """Write the sensor files that all clips share, so that clips may be written at the same time.

    Raises:
        UserError: ``folder`` holds clips of another sensor.
        DataError: the first clip has no lidar, its sensor does not fit the format, or nothing can be written.
    """
    clip = clips[0]
    with Staged(Path(folder), clip.clip_id) as staged:
        for stream in clip.lidars.values():
            place = _place(stream, clip)
            text = _shared_sensor(Path(folder) / place, stream.sensor)
            if text is not None:
                staged.file(f"{place}sensor.yaml").write_text(text, encoding="utf-8")


def write_clip(clip: Clip, folder: Path, options: WriteOptions, progress: Progress) -> Written:
    """Write one clip below ``folder``: files get their names when all of them are complete.

    Unlike the published files, which drop the last sweep for want of a successor, every sweep has a metadata row: its
    start and its end, as the clip has them. Unknown poses are NaN.

    Frame ids are the numbers of the images taken nearest to the start of each sweep, as published, where all cameras
    agree on them; otherwise one image per sweep and camera is written. Without cameras numeric frame ids are kept.

    Further lidars are written to ``lidars/<name>``, with their own times.

    Args:
        clip: what to write.
        folder: of the dataset; made where absent. All its clips are of one sensor (``sensor.yaml``), up to the
            calibration of the unit (``lidar_sensor_config/<clip>.json``).
        options: none is used.
        progress: called after each sweep of the main lidar.

    Raises:
        UserError: ``folder`` holds clips of another sensor.
        DataError: the clip cannot be read or has no lidar, its sensor does not fit the format, or the disk is full.
    """
    folder, losses = Path(folder), Losses(clip, HOLDS)
    lidars = [(_place(stream, clip), stream) for stream in clip.lidars.values()]
    sensors = {place: _shared_sensor(folder / place, stream.sensor) for place, stream in lidars}
    plan = _plan_images(clip, len(clip.lidar))
    _note_changes(clip, plan, losses)
    with Staged(folder, clip.clip_id) as staged:
        for place, stream in lidars[1:]:
            numbers = [f"{number:06d}" for number in range(len(stream))]
            _write_lidar(staged, place, _Lidar(clip, stream, numbers, losses), sensors[place], lambda count: None)
        _write_cameras(staged, clip, plan)
        starts = clip.timestamps_us[: len(plan.frame_ids), 0].tolist()
        write_objects(staged, clip, "", zip(map(int, plan.frame_ids), starts, strict=True))
        _write_lidar(staged, "", _Lidar(clip, clip.lidar, plan.frame_ids, losses), sensors[""], progress)
        files = tuple(name for name in staged.files if not name.endswith("sensor.yaml"))
    return Written(len(clip), files, losses.found)


def write_release(root: Path, clip: Clip, max_frames: int | None = None) -> None:
    """Write one clip below ``root`` as :func:`write_clip` does.

    Args:
        root: dataset folder.
        clip: what to write.
        max_frames: write only that many sweeps, and what cameras and other lidars saw in their time.
    """
    if max_frames is not None:
        clip = cut_frames(clip, 0, max_frames)
    write_clip(clip, root, WriteOptions(), lambda count: None)


@dataclass(frozen=True)
class _Lidar:
    """The sweeps of a lidar to be written, one per frame id."""

    clip: Clip
    stream: LidarStream
    frame_ids: list[str]
    losses: Losses


def _place(stream: LidarStream, clip: Clip) -> str:
    """Return the folder of a lidar, relative to the dataset."""
    return "" if stream is clip.lidar else f"lidars/{clean_id(stream.name)}/"


def _note_changes(clip: Clip, plan: _ImagePlan, losses: Losses) -> None:
    """Note what the layout holds in part, depending on the clip."""
    if tuple(plan.frame_ids) != clip.frame_ids:
        losses.add("frame_ids", "replaced by the numbers of the nearest images")
    for name, numbers in plan.images.items():
        camera = clip.cameras[name]
        if not np.array_equal(numbers, np.arange(len(camera))):
            losses.add("images", f"{len(numbers)} of {len(camera)} images of {name}: one per sweep")
            losses.add("camera_times", "an image has the time of its sweep")
        if camera.world_SE3_camera is None and camera.lidar_SE3_camera is not None:
            losses.add("camera_mounting", f"{name} has no poses, and mountings are not held")


def _write_lidar(staged: Staged, place: str, lidar: _Lidar, sensor_text: str | None, progress: Progress) -> None:
    """Write the sweeps of a lidar below ``place``."""
    clip_id, sensor = lidar.clip.clip_id, lidar.stream.sensor
    _write_sweeps(staged, place, lidar, progress)
    angles = {key: getattr(sensor, key).tolist() for key in ("row_elevations_rad", "row_azimuth_offsets_rad")}
    staged.file(f"{place}lidar_sensor_config/{clip_id}.json").write_text(json.dumps(angles), encoding="utf-8")
    if sensor_text is not None:
        staged.file(f"{place}sensor.yaml").write_text(sensor_text, encoding="utf-8")
    # The last file to get its name: a clip without metadata is not whole.
    _write_metadata(staged.file(f"{place}metadata/{clip_id}.npz"), lidar.stream, lidar.frame_ids)


def _shared_sensor(root: Path, sensor: Sensor) -> str | None:
    """Return the text of the ``sensor.yaml`` that ``root`` still needs; None where what it has will do."""
    if sensor.rows > 256 or sensor.columns > 65536:
        raise DataError(
            f"{sensor.rows} rows and {sensor.columns} columns",
            key=sensor.name,
            wanted="at most 256 and 65536: uint8, uint16",
        )
    file = root / "sensor.yaml"
    base = load_sensor(str(file)) if file.is_file() else load_sensor("pandar128")
    if base.rows == sensor.rows:
        unit = base.with_rows(sensor.row_elevations_rad, sensor.row_azimuth_offsets_rad)
        if unit.fingerprint() == sensor.fingerprint():
            return None
    if file.is_file() or any((root / "lidar").glob("*.tar")):
        raise UserError(f"{root} holds clips of the sensor {base.name}, not {sensor.name}: write to another folder")
    return sensor.to_yaml()


@dataclass(frozen=True)
class _ImagePlan:
    """Frame ids, and which images of each camera are written."""

    frame_ids: list[str]
    images: dict[str, np.ndarray] = field(default_factory=dict)


def _plan_images(clip: Clip, count: int) -> _ImagePlan:
    starts = clip.timestamps_us[:count, 0]
    nearest = {
        name: nearest_numbers(camera.timestamps_us, starts) for name, camera in clip.cameras.items() if len(camera)
    }
    if not nearest:
        numeric = all(frame.isdecimal() for frame in clip.frame_ids[:count])
        numbers = [int(frame) for frame in clip.frame_ids[:count]] if numeric else list(range(count))
        return _ImagePlan([f"{number:06d}" for number in numbers])
    first = next(iter(nearest.values()))
    if all(np.array_equal(numbers, first) for numbers in nearest.values()) and (np.diff(first) > 0).all():
        end = int(first[-1]) + 1
        if count == len(clip):  # images after the start of the last sweep belong to it
            end = min(len(clip.cameras[name]) for name in nearest)
        return _ImagePlan([f"{number:06d}" for number in first], {name: np.arange(end) for name in nearest})
    return _ImagePlan([f"{number:06d}" for number in range(count)], nearest)


def _write_sweeps(staged: Staged, place: str, lidar: _Lidar, progress: Progress) -> None:
    """Write ``lidar/<clip>.tar`` and, where sweeps have labels or times, ``labels/<clip>.tar``, in one pass."""
    clip = lidar.clip
    lidar_tar, labels_tar = tarfile.open(staged.file(f"{place}lidar/{clip.clip_id}.tar"), "w"), None
    try:
        for index, frame_id in enumerate(lidar.frame_ids):
            stem = f"{clip.clip_id}.{frame_id}"
            layers = _dense(lidar, index)
            range_m = layers.pop("range_m")
            seen = range_m != 0
            rows = np.repeat(np.arange(len(seen), dtype=np.uint8), np.count_nonzero(seen, axis=1))
            add_npz(lidar_tar, f"{stem}.lidar_row.npz", rows)
            columns = np.broadcast_to(np.arange(seen.shape[1], dtype=np.uint16), seen.shape)
            add_npz(lidar_tar, f"{stem}.lidar_col.npz", columns[seen])
            add_npz(lidar_tar, f"{stem}.lidar_range.npz", _half(range_m[seen], clip, stem))
            if "intensity" in layers:
                intensity = layers["intensity"][seen]
                if intensity.max(initial=0) > _LARGEST_HALF:
                    lidar.losses.add("intensity", f"values above {_LARGEST_HALF} become {_LARGEST_HALF}")
                    intensity = np.minimum(intensity, _LARGEST_HALF)
                add_npz(lidar_tar, f"{stem}.lidar_intensity.npz", intensity.astype(np.float16))
            for name, part in BESIDE.items():
                if name in layers:
                    labels_tar = labels_tar or tarfile.open(staged.file(f"{place}labels/{clip.clip_id}.tar"), "w")
                    values = layers[name][seen].astype(RETURN_VALUES[name], copy=False)
                    add_npz(labels_tar, f"{stem}.{part}.npz", values)
            progress(1)
    finally:
        lidar_tar.close()
        if labels_tar is not None:
            labels_tar.close()


def _half(ranges: np.ndarray, clip: Clip, stem: str) -> np.ndarray:
    """Return ranges as float16; a return so near that it would round to 0 (none) keeps the smallest step."""
    if not np.isfinite(ranges).all() or (len(ranges) and ranges.max() > 65000):
        raise DataError(
            "ranges that float16 cannot hold",
            file=clip.source,
            clip=clip.clip_id,
            key=stem,
            wanted="finite, below 65 km",
        )
    return np.maximum(ranges.astype(np.float16), np.finfo(np.float16).smallest_subnormal)


def _dense(lidar: _Lidar, index: int) -> dict[str, np.ndarray]:
    """Return the range map of a sweep and what it holds of :data:`RETURN_VALUES`, all (rows, columns)."""
    sweep = as_range_image(lidar.stream, index, lidar.losses)
    held = {name: getattr(sweep, name) for name in ("range_m", *RETURN_VALUES)}
    return {name: values for name, values in held.items() if values is not None}


def _write_cameras(staged: Staged, clip: Clip, plan: _ImagePlan) -> None:
    members: dict[str, list[tuple[str, np.ndarray]]] = {"pose": [], "ftheta_intrinsic": [], "pinhole_intrinsic": []}
    for name, numbers in plan.images.items():
        camera = clip.cameras[name]
        pinhole = camera.model is not None and not isinstance(camera.model, FThetaCamera)
        kind = "pinhole" if pinhole else "ftheta"
        video = staged.file(f"{kind}_{name}/{clip.clip_id}.mp4")
        write_mp4(video, (camera.read(int(number)) for number in numbers), _rate_hz(camera.timestamps_us[numbers]))
        if camera.world_SE3_camera is not None:
            poses = camera.world_SE3_camera
            members["pose"] += [(f"{number:06d}.pose.{name}", poses[k]) for number, k in enumerate(numbers)]
        if camera.model is not None:
            if any(getattr(camera.model, "distortion", ())):
                logger.warning("%s: the layout has no lens distortion, that of camera %s is lost", clip.clip_id, name)
            members[f"{kind}_intrinsic"].append((f"{kind}_intrinsic.{name}", _lens_vector(camera.model)))
    for folder, arrays in members.items():
        if arrays:
            with tarfile.open(staged.file(f"{folder}/{clip.clip_id}.tar"), "w") as tar:
                for name, array in arrays:
                    add_npy(tar, f"{clip.clip_id}.{name}.npy", array)


def _rate_hz(times_us: np.ndarray) -> float:
    steps = np.diff(times_us)
    return 1e6 / float(np.median(steps)) if len(steps) and np.median(steps) > 0 else 10.0


def _lens_vector(lens: FThetaCamera | PinholeCamera) -> np.ndarray:
    if isinstance(lens, FThetaCamera):
        return lens.to_vector()
    return np.array([lens.fx, lens.fy, lens.cx, lens.cy, lens.width, lens.height])


def _write_metadata(file: Path, stream: LidarStream, frame_ids: list[str]) -> None:
    count = len(frame_ids)
    unknown = np.full((count, 2, 4, 4), np.nan)
    arrays: dict[str, Any] = {
        "pose_list": unknown if stream.world_SE3_lidar is None else stream.world_SE3_lidar[:count].astype(np.float64),
        "timestamps_list": stream.timestamps_us[:count].astype(np.int64),
        "frame_indices": np.array(frame_ids),
    }
    if stream.ego_SE3_lidar is not None:
        arrays["ego_SE3_lidar"] = stream.ego_SE3_lidar.astype(np.float64)
    if stream.name != "lidar":
        arrays["lidar_name"] = np.array(stream.name)
    with file.open("wb") as out:
        np.savez(out, **arrays)
