"""The folder of the multi-view guide: a video per camera, captions, and the tars that its Waymo converter makes.

::

    videos/pinhole_front/CLIP.mp4, …       H.264; all cameras with the same number of frames
    metas/pinhole_front/CLIP.txt, …        the caption, where one is given
    videos/pinhole_intrinsic/CLIP.tar      CLIP.pinhole_intrinsic.front.npy, …: fx fy cx cy width height
    videos/pose/CLIP.tar                   CLIP.000000.pose.front.npy, …: camera to world (x right, y down, z forward)
    videos/vehicle_pose/CLIP.tar           CLIP.000000.vehicle_pose.npy, …: vehicle to world
    videos/timestamp/CLIP.tar              CLIP.000000.timestamp_micros.txt, …
    videos/lidar_raw/CLIP.tar              CLIP.000000.lidar_raw.npz, …: xyz, lidar_to_world
    videos/all_object_info/CLIP.tar        CLIP.000000.all_object_info.json, …: boxes of objects
    videos/3d_lanelines/CLIP.tar           CLIP.lanelines.json: lane lines in the world

Names of cameras are in lower case, without ``camera_`` before them. Numbers in the names count at 30 Hz: frame i of a
video of 10 Hz is 3 i. Poses stand at all numbers, between frames on straight lines with constant turn rates, and after
the last frame straight on. A timestamp is the start of the sweep of the frame where each frame has one, else the time
of the image. Points are those of all returns of the main lidar, one sweep per frame, moved to the start of their sweep,
in axes of the vehicle, or of the lidar where its mounting is not known; ``lidar_to_world`` is the pose of these axes.
Beyond the published arrays ``lidar_raw`` has intensity and ``starting_timestamp``. Fisheye cameras are ``ftheta_…``.

The frames are the images of the camera ``front``, else of the first one, and of each other camera the nearest ones.
Videos have no times: each is shown at the usual rate of the frames, and all images of a frame have its timestamp. Of
the converter's maps only lane lines are written.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip, LidarStream
from cosmos_lidar.clips.multiview_tables import KEYS_HZ, frame_numbers
from cosmos_lidar.clips.nearest import nearest_numbers, nearest_once
from cosmos_lidar.clips.poses import interpolate_poses
from cosmos_lidar.clips.sweep import Sweep, to_points
from cosmos_lidar.clips.video import write_mp4
from cosmos_lidar.clips.writers._contract import Losses, Progress, WriteOptions, Written
from cosmos_lidar.clips.writers._motion import cloud_at, mounting_of, moved_points, track_of
from cosmos_lidar.clips.writers._objects import write_objects
from cosmos_lidar.clips.writers._staged import Staged
from cosmos_lidar.clips.writers._tar_members import add_arrays, add_bytes, add_npy
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.ftheta import FThetaCamera
from cosmos_lidar.sensors.pinhole import PinholeCamera

DESCRIPTION = "the multi-view guide's folder: videos/pinhole_*/CLIP.mp4, metas/, and the tars of its Waymo converter"
HOLDS = frozenset(("points", "intensity", "poses", "reference", "names")) | frozenset(
    ("images", "lens", "camera_times", "camera_poses", "boxes", "lane_lines")
)
_USUAL_HZ = 10.0  # of a video of one frame
_WHOLE_HZ = 0.02  # a rate so near to a whole number, as a share of it, is that number


@dataclass(frozen=True)
class _View:
    """A camera with its name in the layout, and the number of its image for each frame."""

    name: str
    stream: CameraStream
    images: np.ndarray

    @property
    def folder(self) -> str:
        kind = "ftheta" if isinstance(self.stream.model, FThetaCamera) else "pinhole"
        return f"{kind}_{self.name}"


@dataclass(frozen=True)
class _Plan:
    """The frames of a clip.

    Attributes:
        times_us: (F,) of the frames.
        rate_hz: of the videos.
        keys: (F,) numbers of the frames at 30 Hz.
        views: the cameras.
        sweeps: frame -> sweep.
    """

    times_us: np.ndarray
    rate_hz: float
    keys: np.ndarray
    views: list[_View]
    sweeps: dict[int, int]

    @property
    def all_keys(self) -> np.ndarray:
        """Numbers at 30 Hz from 0 to the one before the frame that would come next."""
        return np.arange(int(self.keys[-1]) + max(1, round(KEYS_HZ / self.rate_hz)))


def frames(clip: Clip) -> int:
    """Return the images and sweeps that will be written; 0 for a clip that will be refused."""
    if not any(map(len, clip.cameras.values())):
        return 0
    plan = _plan(clip)
    return len(plan.times_us) * len(plan.views) + len(plan.sweeps)


def write_clip(clip: Clip, folder: Path, options: WriteOptions, progress: Progress) -> Written:
    """Write the videos of a clip, their captions, and what belongs to them, below ``folder``.

    Raises:
        DataError: the clip has no camera, or cannot be read; or the folder cannot be written.
    """
    if not any(map(len, clip.cameras.values())):
        wanted = "a recording with cameras"
        raise DataError("no image in it", file=clip.source, clip=clip.clip_id, wanted=wanted)
    losses, plan = Losses(clip, HOLDS), _plan(clip)
    _note_changes(clip, plan, losses)
    with Staged(folder, clip.clip_id) as staged:
        for view in plan.views:
            write_mp4(staged.file(f"videos/{view.folder}/{clip.clip_id}.mp4"), _images(view, progress), plan.rate_hz)
            if options.caption:
                meta = staged.file(f"metas/{view.folder}/{clip.clip_id}.txt")
                meta.write_text(options.caption, encoding="utf-8")
        _write_lenses(staged, clip, plan)
        _write_tar(staged, clip, "pose", _camera_poses(clip, plan), add_npy)
        _write_tar(staged, clip, "vehicle_pose", _vehicle_poses(clip, plan), add_npy)
        _write_tar(staged, clip, "timestamp", _timestamps(clip, plan), add_bytes)
        stamps = zip(plan.keys.tolist(), _stamps_us(clip, plan).tolist(), strict=True)
        write_objects(staged, clip, "videos/", stamps)
        if plan.sweeps:
            _write_points(staged, clip, plan, losses, progress)
        files = staged.files
    return Written(len(clip) if clip.lidars else len(plan.times_us), files, losses.found)


def _plan(clip: Clip) -> _Plan:
    streams = {name: stream for name, stream in clip.cameras.items() if len(stream)}
    names = {name: re.sub(r"[^a-z0-9]+", "_", name.lower().removeprefix("camera_")).strip("_") for name in streams}
    if len(set(names.values())) < len(names):
        names = {name: name for name in streams}
    reference = next((name for name in streams if names[name] == "front"), next(iter(streams)))
    times = streams[reference].timestamps_us
    rate = _rate_hz(times)
    views = [_View(names[name], one, nearest_numbers(one.timestamps_us, times)) for name, one in streams.items()]
    return _Plan(times, rate, frame_numbers(len(times), rate), views, _sweeps_of_frames(clip, times))


def _rate_hz(times_us: np.ndarray) -> float:
    """Return the usual rate; a whole number of Hz where it is within 2 % of that."""
    steps = np.diff(times_us)
    rate = 1e6 / float(np.median(steps)) if len(steps) and np.median(steps) > 0 else _USUAL_HZ
    whole = round(rate)
    return float(whole) if whole and abs(rate - whole) <= _WHOLE_HZ * whole else rate


def _sweeps_of_frames(clip: Clip, times_us: np.ndarray) -> dict[int, int]:
    """Return frame -> the sweep that starts nearest to it, each sweep once; of a clip with poses of its lidar."""
    if not clip.lidars or track_of(clip.lidar) is None:
        return {}
    starts = clip.timestamps_us[:, 0]
    if len(starts) == len(times_us):
        return {index: index for index in range(len(starts))}
    return nearest_once(times_us, starts)


def _note_changes(clip: Clip, plan: _Plan, losses: Losses) -> None:
    stamps = _stamps_us(clip, plan)
    for view in plan.views:
        off = int(np.abs(view.stream.timestamps_us[view.images] - stamps).max())
        if off > 1:
            losses.add("camera_times", f"images have the time of their frame: off by up to {off} us")
        count = len(np.unique(view.images))
        if count < len(view.stream) or len(view.images) > count:
            losses.add("images", f"{view.stream.name}: {count} of {len(view.stream)} images, one per frame")
        if any(getattr(view.stream.model, "distortion", ())):
            losses.add("lens", f"{view.stream.name} and others: distortion")
        if view.stream.model is None or _poses_of(clip, view) is None:
            losses.add("camera_poses", f"{view.stream.name} has no lens or no place")
    if clip.lidars and track_of(clip.lidar) is None:
        losses.add("points", "lidar_raw needs poses of the lidar")
    elif clip.lidars:
        if len(plan.sweeps) < len(clip):
            losses.add("points", f"{len(plan.sweeps)} of {len(clip)} sweeps: one per frame")
        losses.add("poses", "of the lidar at the starts of its sweeps")
        if clip.lidar.ego_SE3_lidar is None:
            losses.add("points", "vehicle_pose is not written, and points are in axes of the lidar: no mounting")
        if not clip.lidar.motion_compensated or clip.lidar.reference_us is not None:
            losses.add("reference", "points are moved to the start of their sweep")


def _images(view: _View, progress: Progress) -> Iterator[np.ndarray]:
    for number in view.images.tolist():
        yield view.stream.read(number)
        progress(1)


def _write_tar(
    staged: Staged,
    clip: Clip,
    name: str,
    members: dict[str, np.ndarray] | dict[str, bytes],
    add: Callable[[tarfile.TarFile, str, np.ndarray], None] | Callable[[tarfile.TarFile, str, bytes], None],
) -> None:
    """Write ``videos/NAME/CLIP.tar`` of members in the order of their names; none without members."""
    if not members:
        return
    with tarfile.open(staged.file(f"videos/{name}/{clip.clip_id}.tar"), "w") as tar:
        for key in sorted(members):
            add(tar, f"{clip.clip_id}.{key}", members[key])  # type: ignore[arg-type]


def _write_lenses(staged: Staged, clip: Clip, plan: _Plan) -> None:
    pinhole, fisheye = {}, {}
    for view in plan.views:
        model = view.stream.model
        if isinstance(model, PinholeCamera):
            values = [model.fx, model.fy, model.cx, model.cy, model.width, model.height]
            pinhole[f"pinhole_intrinsic.{view.name}.npy"] = np.array(values)
        elif model is not None:
            fisheye[f"ftheta_intrinsic.{view.name}.npy"] = model.to_vector()
    _write_tar(staged, clip, "pinhole_intrinsic", pinhole, add_npy)
    _write_tar(staged, clip, "ftheta_intrinsic", fisheye, add_npy)


def _poses_of(clip: Clip, view: _View) -> np.ndarray | None:
    """Return (F, 4, 4) camera to world at its images: its own poses, else those by lidar and mounting."""
    if view.stream.world_SE3_camera is not None:
        return view.stream.world_SE3_camera[view.images]
    track = track_of(clip.lidar) if clip.lidars else None
    mounting = mounting_of(view.stream, clip.lidar) if track is not None else None
    return None if track is None or mounting is None else track.at(view.stream.timestamps_us[view.images]) @ mounting


def _camera_poses(clip: Clip, plan: _Plan) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for view in plan.views:
        poses = _poses_of(clip, view)
        if poses is not None:
            at_keys = zip(plan.all_keys.tolist(), _at_all_keys(poses, plan), strict=True)
            found |= {f"{key:06d}.pose.{view.name}.npy": pose for key, pose in at_keys}
    return found


def _vehicle_poses(clip: Clip, plan: _Plan) -> dict[str, np.ndarray]:
    poses = _vehicle(clip, plan)
    if poses is None:
        return {}
    at_keys = zip(plan.all_keys.tolist(), _at_all_keys(poses, plan), strict=True)
    return {f"{key:06d}.vehicle_pose.npy": pose for key, pose in at_keys}


def _vehicle(clip: Clip, plan: _Plan) -> np.ndarray | None:
    """Return (F, 4, 4) vehicle to world at the frames: by the lidar, else by a camera."""
    track = track_of(clip.lidar) if clip.lidars else None
    if track is not None and clip.lidar.ego_SE3_lidar is not None:
        return track.at(plan.times_us) @ np.linalg.inv(clip.lidar.ego_SE3_lidar)
    for view in plan.views:
        poses, mounting = view.stream.world_SE3_camera, view.stream.ego_SE3_camera
        if poses is not None and mounting is not None:
            return poses[view.images] @ np.linalg.inv(mounting)
    return None


def _at_all_keys(poses: np.ndarray, plan: _Plan) -> np.ndarray:
    """Return poses at all numbers; after the last frame the last step continues without a turn, as published."""
    keys, last = plan.all_keys, int(plan.keys[-1])
    found = interpolate_poses(poses, plan.keys, np.minimum(keys, last))
    found[plan.keys] = poses
    step = found[last, :3, 3] - found[last - 1, :3, 3] if last else np.zeros(3)
    found[last:, :3, 3] += (keys[last:] - last)[:, None] * step
    return found


def _stamps_us(clip: Clip, plan: _Plan) -> np.ndarray:
    """Return (F,) the time of each frame: the start of its sweep where all have one, else that of its image."""
    if len(plan.sweeps) < len(plan.times_us):
        return plan.times_us
    return clip.timestamps_us[[plan.sweeps[frame] for frame in range(len(plan.times_us))], 0]


def _timestamps(clip: Clip, plan: _Plan) -> dict[str, bytes]:
    members = zip(plan.keys.tolist(), _stamps_us(clip, plan).tolist(), strict=True)
    return {f"{key:06d}.timestamp_micros.txt": str(time).encode() for key, time in members}


def _write_points(staged: Staged, clip: Clip, plan: _Plan, losses: Losses, progress: Progress) -> None:
    lidar = clip.lidar
    with tarfile.open(staged.file(f"videos/lidar_raw/{clip.clip_id}.tar"), "w") as tar:
        for frame, index in sorted(plan.sweeps.items()):
            name = f"{clip.clip_id}.{plan.keys[frame]:06d}.lidar_raw.npz"
            add_arrays(tar, name, **_points(lidar, index, losses))
            progress(1)


def _points(lidar: LidarStream, index: int, losses: Losses) -> dict[str, np.ndarray]:
    """Return the arrays of a sweep: of all returns, in axes of the vehicle where its mounting is known."""
    sweep = losses.see(lidar.read(index))
    start, track = int(lidar.timestamps_us[index, 0]), track_of(lidar)
    assert track is not None  # a plan has no sweeps otherwise
    cloud = to_points(sweep, lidar.sensor)
    own = cloud.points is not sweep.points
    cloud = Sweep(points=cloud.points, intensity=cloud.intensity, time_us=cloud.time_us)
    cloud = cloud_at(lidar, index, cloud, start, own)
    assert cloud.points is not None
    xyz, world_SE3_points = cloud.points, track.at(np.array(start))
    if lidar.ego_SE3_lidar is not None:
        xyz = moved_points(xyz, lidar.ego_SE3_lidar, xyz if xyz is not sweep.points else None)
        world_SE3_points = world_SE3_points @ np.linalg.inv(lidar.ego_SE3_lidar)
    arrays = {"xyz": xyz, "lidar_to_world": world_SE3_points, "starting_timestamp": np.array(start)}
    return arrays if cloud.intensity is None else {**arrays, "intensity": cloud.intensity}
