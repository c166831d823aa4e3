"""OpenEXR: range maps and depth of cameras, float32 with ZIP, for other programs; the reader ``exr`` takes the lidars.

::

    CLIP/000000.exr, …               a range map per sweep of the main lidar
    CLIP/timestamps.csv, poses.csv, sensor.yaml, lidar.json    as the layout ply has them
    CLIP/lidars/NAME/…               the same of each further lidar
    CLIP/depth/NAME/000000.exr, …    a depth map per image of each camera
    CLIP/depth/NAME/timestamps.csv, poses.csv
    CLIP/cameras.yaml                lenses and mountings (:mod:`cosmos_lidar.clips.rig`)

Channels of range maps: ``Y`` range, meters, 0 without a return; ``intensity`` and ``elongation`` float32; ``label``,
``instance`` and ``ring`` uint32; ``time_us`` float32, exact up to 16 s. Second returns are channels ``second.Y`` and so
on. Values are read back to the bit. Of points those are written that are nearest in their pixel, moved to where the
lidar saw them.

Channel of depth maps: ``Z``, meters along the optical axis (fisheye: from the lens), 0 where no point is: the points of
the sweep whose middle is nearest to the image, as they lay when it was taken, without those that nearer ones hide.
Cameras without lens or place have none. The images themselves are not written.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.blocks import blocks
from cosmos_lidar.clips.camera_pose import points_in_camera
from cosmos_lidar.clips.clip import CameraStream, Clip, LidarStream
from cosmos_lidar.clips.exr import write_exr
from cosmos_lidar.clips.files import clean_id
from cosmos_lidar.clips.readers.exr import CHANNELS, SECOND
from cosmos_lidar.clips.rig import MountedCamera, save_rig
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.clips.writers._clouds import file_names, pose_table, write_beside
from cosmos_lidar.clips.writers._contract import Losses, Progress, WriteOptions, Written
from cosmos_lidar.clips.writers._motion import mounting_of
from cosmos_lidar.clips.writers._range_maps import as_range_image
from cosmos_lidar.clips.writers._staged import Staged
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.camera_projection import in_image, project_to_image

DESCRIPTION = "OpenEXR files (float32, ZIP): range maps of every lidar, depth maps of every camera"
HOLDS = frozenset(("range_image", "intensity", "labels", "instance", "time_us", "ring", "elongation", "returns")) | (
    frozenset(("names", "sensor", "frame_ids", "times", "poses", "mounting", "lidars", "lens"))
    | frozenset(("camera_times", "camera_poses", "camera_mounting"))
)
NEEDS = ("OpenEXR",)
_WHOLE = ("labels", "instance", "ring")
_POINTS = 1 << 12  # at a time, each with a pose of its own
_EXACT_US = 1 << 24  # whole numbers that float32 holds


def frames(clip: Clip) -> int:
    """Return the range and depth maps that will be written; 0 for a clip that will be refused."""
    if not clip.lidars:
        return 0
    return sum(map(len, clip.lidars.values())) + sum(map(len, _placed(clip).values()))


def write_clip(clip: Clip, folder: Path, options: WriteOptions, progress: Progress) -> Written:
    """Write the lidars of a clip, and depth for its cameras, to ``folder/CLIP``.

    Raises:
        DataError: the clip has no lidar or cannot be read, or the folder cannot be written.
        UserError: OpenEXR is not installed.
    """
    main, losses, cameras = clip.lidar, Losses(clip, HOLDS), _placed(clip)
    _note_cameras(clip, cameras, losses)
    with Staged(folder, clip.clip_id) as staged:
        place = staged.folder(clip.clip_id)
        for lidar in clip.lidars.values():
            _write_lidar(place if lidar is main else place / "lidars" / clean_id(lidar.name), lidar, losses, progress)
        for camera in cameras.values():
            _write_depth(place / "depth" / clean_id(camera.name), clip, camera, progress)
        mounted = [_mounted(camera, main) for camera in cameras.values()]
        if any(mounted):
            save_rig(place / "cameras.yaml", [one for one in mounted if one is not None])
        files = staged.files
    return Written(len(main), files, losses.found)


def _placed(clip: Clip) -> dict[str, CameraStream]:
    """Return the cameras of which it is known where the points are in their images."""
    poses = clip.world_SE3_lidar is not None
    return {
        name: camera for name, camera in clip.cameras.items()
        if len(camera) and camera.model is not None
        and (camera.lidar_SE3_camera is not None or (poses and camera.world_SE3_camera is not None))
    }  # fmt: skip


def _note_cameras(clip: Clip, cameras: dict[str, CameraStream], losses: Losses) -> None:
    if any(map(len, clip.cameras.values())):
        losses.add("images", "depth maps instead")
    left_out = [name for name, camera in clip.cameras.items() if len(camera) and name not in cameras]
    if left_out:
        losses.add("camera_times", f"no depth for {left_out[0]} and others without lens or place")
    loose = [name for name, camera in cameras.items() if mounting_of(camera, clip.lidar) is None]
    if loose:
        losses.add("lens", f"{loose[0]} and others that have no mounting are not in cameras.yaml")


def _write_lidar(place: Path, lidar: LidarStream, losses: Losses, progress: Progress) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(file_names(lidar, losses)):
        write_exr(place / f"{name}.exr", _all_channels(as_range_image(lidar, index, losses), losses))
        progress(1)
    write_beside(place, replace(lidar, motion_compensated=False, reference_us=None))


def _all_channels(sweep: Sweep, losses: Losses) -> dict[str, np.ndarray]:
    channels = _channels(sweep, losses)
    if sweep.second_return is not None:
        second = _channels(sweep.second_return, losses)
        channels |= {f"{SECOND}{channel}": values for channel, values in second.items()}
    return channels


def _channels(sweep: Sweep, losses: Losses) -> dict[str, np.ndarray]:
    """Return the channels of a range image, and note what they hold only nearly."""
    found = {}
    for value, channel in CHANNELS.items():
        values = getattr(sweep, value)
        if values is None:
            continue
        if value == "time_us" and max(-int(values.min(initial=0)), int(values.max(initial=0))) > _EXACT_US:
            losses.add("time_us", "rounded beyond 16 s")
        found[channel] = values.astype(np.uint32 if value in _WHOLE else np.float32, copy=False)
    return found


def _write_depth(place: Path, clip: Clip, camera: CameraStream, progress: Progress) -> None:
    place.mkdir(parents=True)
    middle, points, held = clip.timestamps_us.sum(axis=1) // 2, Sweep(), -1
    for image, time_us in enumerate(camera.timestamps_us.tolist()):
        index = int(np.argmin(np.abs(middle - time_us)))
        if index != held:
            points, held = Sweep(), index  # one cloud at a time
            cloud = clip.lidar.cloud(index)
            points = Sweep(points=cloud.points, time_us=cloud.time_us)
            del cloud
        write_exr(place / f"{image:06d}.exr", {"Z": _depth(clip, camera, index, image, points)})
        progress(1)
    rows = "".join(f"{time}\n" for time in ("timestamp_us", *camera.timestamps_us.tolist()))
    (place / "timestamps.csv").write_text(rows, encoding="utf-8")
    if camera.world_SE3_camera is not None:
        table = pose_table(camera.timestamps_us, camera.world_SE3_camera)
        (place / "poses.csv").write_text(table, encoding="utf-8")


def _depth(clip: Clip, camera: CameraStream, index: int, image: int, cloud: Sweep) -> np.ndarray:
    """Return (height, width) float32 depth of the points of a sweep that an image shows; 0 where none is."""
    model = camera.model
    if model is None:
        raise DataError(f"camera {camera.name} has no lens", file=clip.source, clip=clip.clip_id)
    depth = np.full((int(model.height), int(model.width)), np.inf, np.float32)
    if cloud.points is not None and len(cloud.points):
        parts = []
        for part in blocks(len(cloud.points), _POINTS):  # of most points it turns out that the image does not show them
            times = None if cloud.time_us is None else cloud.time_us[part]
            seen = points_in_camera(clip, camera, index, image, cloud.points[part], times)
            parts.append(seen[in_image(seen, model)])
        found = project_to_image(np.concatenate(parts), model)
        columns, rows = np.floor(found.uv[found.visible] + 0.5).astype(np.int64).T
        np.minimum.at(depth, (rows, columns), found.depth[found.visible].astype(np.float32))
    depth[np.isinf(depth)] = 0.0
    return depth


def _mounted(camera: CameraStream, lidar: LidarStream) -> MountedCamera | None:
    mounting = mounting_of(camera, lidar)
    if mounting is None or camera.model is None:
        return None
    return MountedCamera(camera.name, camera.model, mounting)
