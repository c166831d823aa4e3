"""SemanticKITTI: sequences of scans with a class and an instance per point, as the reader ``semantickitti`` takes them.

::

    sequences/CLIP/velodyne/000000.bin, …    float32 x y z reflectance of all returns
    sequences/CLIP/labels/000000.label, …    uint32: class in the lower 16 bits, instance in the upper ones
    sequences/CLIP/image_2/000000.png, …     the image of each camera that is nearest to the middle of the sweep
    sequences/CLIP/calib.txt                 P2, P3, … (K [R | t]) and Tr, as KITTI odometry has them
    sequences/CLIP/times.txt                 middles of the sweeps, seconds
    sequences/CLIP/poses.txt                 of the first camera at these times, (3, 4) row by row

A sequence has the name of its clip. Points are in the axes that the lidar had in the middle of the sweep, to which
KITTI compensates motion: where poses are known they are moved there, which rounds them to float32 once more. Classes
and intensities keep the numbers of the dataset. Cameras are numbered from ``image_2`` on. Where they look along
different axes, R of their projection is not the identity as in KITTI's own files; images are not rectified.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.blocks import blocks
from cosmos_lidar.clips.clip import Clip, LidarStream
from cosmos_lidar.clips.nearest import nearest_once
from cosmos_lidar.clips.poses import interpolate_poses
from cosmos_lidar.clips.readers.kitti.scans import around
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.clips.trajectory import Trajectory
from cosmos_lidar.clips.writers._contract import Losses, Progress, WriteOptions, Written
from cosmos_lidar.clips.writers._image_files import image_bytes
from cosmos_lidar.clips.writers._kitti import (
    NumberedCamera,
    first_camera,
    note_frames,
    note_sweep,
    numbered_cameras,
    projection,
    row,
    write_scan,
)
from cosmos_lidar.clips.writers._motion import cloud_at, note_camera_poses, note_difference, reference_times, track_of
from cosmos_lidar.clips.writers._staged import Staged

DESCRIPTION = "SemanticKITTI sequences: scans, labels, calibration, poses and times, one image per sweep and camera"
HOLDS = frozenset(("points", "intensity", "labels", "instance", "times", "poses", "reference")) | frozenset(
    ("images", "lens", "camera_times", "camera_poses", "camera_mounting")
)
_LARGEST_INSTANCE = 0xFFFF


def write_clip(clip: Clip, folder: Path, options: WriteOptions, progress: Progress) -> Written:
    """Write the main lidar of a clip, and its cameras, to ``folder/sequences/CLIP``.

    Raises:
        DataError: the clip has no lidar, a sweep without intensity, or cannot be read; or the folder cannot be written.
    """
    lidar, losses = clip.lidar, Losses(clip, HOLDS)
    cameras, track = numbered_cameras(clip, losses), track_of(lidar)
    middle = lidar.timestamps_us.sum(axis=1) // 2
    names = [f"{number:06d}" for number in range(len(lidar))]
    note_frames(losses, lidar, names)
    _note_times(losses, lidar, middle, track)
    chosen = {camera.number: _nearest(camera, middle, losses) for camera in cameras}
    _note_cameras(losses, clip, cameras)
    with Staged(folder, clip.clip_id) as staged:
        place = staged.folder(f"sequences/{clip.clip_id}")
        (place / "velodyne").mkdir()
        for index, name in enumerate(names):
            _write_sweep(place, name, clip, index, None if track is None else int(middle[index]), losses)
            for camera in cameras:
                if index in chosen[camera.number]:
                    _write_image(place / f"image_{camera.number}" / f"{name}.png", camera, chosen[camera.number][index])
            progress(1)
        first = first_camera(cameras)
        (place / "calib.txt").write_text(_calibration(cameras, first), encoding="utf-8")
        (place / "times.txt").write_text("".join(f"{_seconds(time)}\n" for time in middle.tolist()), encoding="utf-8")
        if track is not None:
            (place / "poses.txt").write_text(_poses(track.at(middle), first), encoding="utf-8")
        files = staged.files
    return Written(len(lidar), files, losses.found)


def _seconds(time_us: int) -> str:
    sign, time_us = ("-" if time_us < 0 else ""), abs(time_us)
    return f"{sign}{time_us // 1_000_000}.{time_us % 1_000_000:06d}"


def _note_times(losses: Losses, lidar: LidarStream, middle: np.ndarray, track: Trajectory | None) -> None:
    """Note starts, ends and poses that the middles do not give back, and points that are moved."""
    read = around(middle, lidar.sensor)
    off = int(np.abs(read - lidar.timestamps_us).max(initial=0))
    if off > 1:
        losses.add("times", f"middles of sweeps alone: starts and ends are off by up to {off} us")
    if track is None:
        losses.add("reference", "without poses points stay where they are: the layout takes them to be of the middle")
        return
    if not lidar.motion_compensated or not np.array_equal(reference_times(lidar), middle):
        losses.add("reference", "points are moved to the middle of their sweep")
    if lidar.world_SE3_lidar is not None:
        kept = interpolate_poses(track.at(middle), middle - middle[0], read - middle[0])
        note_difference(losses, "poses", lidar.world_SE3_lidar, kept, "one pose per sweep")


def _nearest(camera: NumberedCamera, middle: np.ndarray, losses: Losses) -> dict[int, int]:
    """Return sweep -> image taken nearest to its middle; an image stands for one sweep, the nearest to it."""
    times = camera.stream.timestamps_us
    sweeps = nearest_once(times, middle)
    if len(sweeps) < len(times):
        losses.add("images", f"{len(sweeps)} of {len(times)} images of {camera.stream.name}: one per sweep")
    largest = max((abs(int(times[image] - middle[sweep])) for image, sweep in sweeps.items()), default=0)
    if largest > 1:
        losses.add("camera_times", f"an image has the time of the middle of its sweep: off by up to {largest} us")
    return {sweep: image for image, sweep in sweeps.items()}


def _note_cameras(losses: Losses, clip: Clip, cameras: list[NumberedCamera]) -> None:
    note_camera_poses(losses, {one.stream.name: one.stream for one in cameras}, clip.lidar)
    bent = [one.stream.name for one in cameras if any(one.model.distortion)]
    if bent:
        losses.add("lens", f"{bent[0]} and others: distortion")


def _write_sweep(place: Path, name: str, clip: Clip, index: int, time_us: int | None, losses: Losses) -> None:
    """Write points and labels of a sweep, with ``time_us`` moved to that time."""
    cloud, own = note_sweep(losses, clip.lidar, index)
    cloud = replace(cloud, ring=None)  # not held
    if time_us is not None:
        cloud = cloud_at(clip.lidar, index, cloud, time_us, own)
    write_scan(place / "velodyne" / f"{name}.bin", cloud, clip, clip.lidar.frame_ids[index])
    _write_labels(place / "labels" / f"{name}.label", cloud, losses)


def _write_labels(file: Path, cloud: Sweep, losses: Losses) -> None:
    if cloud.labels is None and cloud.instance is None:
        return
    assert cloud.points is not None
    count = len(cloud.points)
    if cloud.instance is not None and cloud.instance.max(initial=0) > _LARGEST_INSTANCE:
        losses.add("instance", f"numbers above {_LARGEST_INSTANCE} keep their lower 16 bits")
    file.parent.mkdir(exist_ok=True)
    with file.open("wb") as out:
        for part in blocks(count):
            entries = np.zeros(part.stop - part.start, "<u4")
            if cloud.labels is not None:
                entries |= cloud.labels[part]
            if cloud.instance is not None:
                entries |= (cloud.instance[part] & _LARGEST_INSTANCE) << 16
            out.write(entries.data)


def _write_image(file: Path, camera: NumberedCamera, image: int) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(image_bytes(camera.stream, image, "png"))


def _calibration(cameras: list[NumberedCamera], first_SE3_lidar: np.ndarray) -> str:
    rows = [row(f"P{camera.number}", projection(camera, first_SE3_lidar)) for camera in cameras]
    return "".join([*rows, row("Tr", first_SE3_lidar[:3])])


def _poses(world_SE3_lidar: np.ndarray, first_SE3_lidar: np.ndarray) -> str:
    poses = first_SE3_lidar @ world_SE3_lidar @ np.linalg.inv(first_SE3_lidar)
    lines = (" ".join(repr(value) for value in pose[:3].ravel().tolist()) for pose in poses)
    return "".join(f"{line}\n" for line in lines)
