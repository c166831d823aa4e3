"""A clip as a Rerun recording (.rrd): sweeps of all lidars, labels, range maps, path, and cameras with lidar on them.

Needs the extra ``viz`` (rerun-sdk). The viewer is not started; ``rerun FILE.rrd`` opens the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.clips.camera_pose import project_sweep
from cosmos_lidar.clips.clip import CameraStream, Clip
from cosmos_lidar.clips.sweep import Sweep, to_points
from cosmos_lidar.errors import DataError
from cosmos_lidar.extras import require
from cosmos_lidar.files import atomic_write
from cosmos_lidar.log import logger
from cosmos_lidar.progress import track
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.viz.label_colors import class_colors, class_names
from cosmos_lidar.viz.range_map import range_colors, range_map_image
from cosmos_lidar.viz.recording_frames import (
    frame_count,
    image_number,
    is_placed,
    middle_us,
    range_map_of,
    sweep_number,
)

_Clouds = dict[str, tuple[Clip, int, Sweep]]  # name of a lidar -> the clip with it as the main one, sweep, its points


def write_rrd(path: str | Path, clip: Clip, frames: Sequence[int] | None = None) -> Path:
    """Write sweeps of a clip to a Rerun file, atomically.

    Entities: ``world/path`` (ego path), ``world/lidar`` (pose of the main lidar) with ``world/lidar/points`` colored by
    range and ``world/lidar/labels`` by semantic class, and ``range_map`` as an image; of each further lidar the same as
    ``world/lidars/NAME`` and ``range_maps/NAME``, the sweep nearest in time. ``world/NAME`` of each camera has its
    pose, its lens where it is a pinhole, the image that belongs to the sweep, and ``world/NAME/lidar`` and
    ``world/NAME/lidars/NAME``, the points on it, colored by range. Time lines: ``frame`` (number of the sweep) and
    ``time`` (start of the sweep). A clip without lidar has the frames of its first camera.

    Args:
        path: file to write.
        clip: the recording.
        frames: numbers of the sweeps; all when None.

    Raises:
        DataError: nothing of a frame can be read. What cannot be read is otherwise left out, with a warning.
        UserError: rerun-sdk is not installed.
    """
    rr = require("rerun")
    with atomic_write(path) as partial:
        recording = rr.RecordingStream("cosmos_lidar", recording_id=clip.clip_id)
        recording.save(partial)
        recording.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        if clip.lidars and clip.world_SE3_lidar is not None:
            recording.log("world/path", rr.LineStrips3D([clip.world_SE3_lidar[:, 0, :3, 3]]), static=True)
        for index in track(range(frame_count(clip)) if frames is None else frames, "rerun", "frames"):
            start_us = int(clip.timestamps_us[index][0]) if clip.lidars else middle_us(clip, index)
            recording.set_time("frame", sequence=int(index))
            recording.set_time("time", timestamp=np.datetime64(start_us, "us"))
            _log_frame(rr, recording, clip, index)
        recording.flush()
        recording.disconnect()
    return Path(path)


def _log_frame(rr: Any, recording: Any, clip: Clip, index: int) -> None:
    clouds: _Clouds = {}
    errors: list[DataError] = []
    seen = 0
    for name in clip.lidars:
        number = sweep_number(clip, clip.lidars[name], index)
        try:
            if number is not None:
                chosen = clip.choose_lidar(name)
                clouds[name] = chosen, number, _log_sweep(rr, recording, clip, chosen, number)
        except DataError as error:
            errors.append(error)
    for camera in clip.cameras.values():
        try:
            seen += _log_camera(rr, recording, clip, camera, index, clouds)
        except DataError as error:
            errors.append(error)
    if errors and not clouds and not seen:
        raise errors[0]
    for one in errors:
        logger.warning("%s", one)


def _entity(rr: Any, clip: Clip, before: str, name: str, main: str) -> str:
    """Return ``before/main`` for the main lidar, ``before/mains/NAME`` for others; names are escaped."""
    if name == next(iter(clip.lidars)):
        return f"{before}{main}"
    return f"{before}{main}s{rr.new_entity_path([name])}"


def _log_sweep(rr: Any, recording: Any, clip: Clip, chosen: Clip, number: int) -> Sweep:
    """Log a sweep of the main lidar of ``chosen``, a lidar of ``clip``, and return its points with their values."""
    lidar = chosen.lidar
    sweep = lidar.read(number)
    cloud = to_points(sweep, lidar.sensor)
    points = np.asarray(cloud.points)
    entity = _entity(rr, clip, "world/", lidar.name, "lidar")
    pose = _pose(clip, chosen, number)
    if pose is not None:
        recording.log(entity, _transform(rr, pose))
    radii = rr.Radius.ui_points(1.5)
    colors = range_colors(np.linalg.norm(points, axis=1))
    recording.log(f"{entity}/points", rr.Points3D(points, colors=colors, radii=radii))
    if cloud.labels is not None:
        ids = np.unique(cloud.labels)
        names = class_names(clip.format)
        colored = zip(ids.tolist(), class_colors(ids).tolist(), strict=True)
        legend = [(one, names.get(one, str(one)), tuple(color)) for one, color in colored]
        recording.log(f"{entity}/labels", rr.AnnotationContext(legend))
        recording.log(f"{entity}/labels", rr.Points3D(points, class_ids=cloud.labels, radii=radii))
    image = range_map_image(range_map_of(lidar, sweep, number))
    recording.log(_entity(rr, clip, "", lidar.name, "range_map"), rr.Image(image).compress())
    return cloud


def _pose(clip: Clip, chosen: Clip, number: int) -> np.ndarray | None:
    """Return the pose of a lidar in the world, or in axes of the main lidar where no poses are known."""
    lidar, main = chosen.lidar, clip.lidar
    if lidar.world_SE3_lidar is not None and main.world_SE3_lidar is not None:
        return np.asarray(lidar.world_SE3_lidar[number][0])
    if lidar.name != main.name and lidar.ego_SE3_lidar is not None and main.ego_SE3_lidar is not None:
        return np.linalg.inv(main.ego_SE3_lidar) @ lidar.ego_SE3_lidar
    return None


def _log_camera(rr: Any, recording: Any, clip: Clip, camera: CameraStream, index: int, clouds: _Clouds) -> bool:
    """Log the image of a camera that belongs to a frame, and the points on it; returns whether there is one."""
    number = image_number(clip, camera, index)
    if number is None:
        return False
    image = camera.read(number)
    entity = f"world{rr.new_entity_path([camera.name])}"
    if camera.world_SE3_camera is not None:
        recording.log(entity, _transform(rr, camera.world_SE3_camera[number]))
    lens = camera.model
    if isinstance(lens, PinholeCamera):
        matrix = np.array([[lens.fx, 0, lens.cx + 0.5], [0, lens.fy, lens.cy + 0.5], [0, 0, 1]])
        pinhole = rr.Pinhole(
            image_from_camera=matrix, resolution=(lens.width, lens.height), camera_xyz=rr.ViewCoordinates.RDF
        )
        recording.log(entity, pinhole)
    else:
        entity = rr.new_entity_path([camera.name])
    recording.log(entity, rr.Image(image).compress())
    for name, (chosen, sweep, cloud) in clouds.items():
        mounted = chosen.cameras[camera.name]
        if is_placed(chosen, mounted) and cloud.points is not None:
            seen = project_sweep(chosen, mounted, sweep, number, cloud.points, cloud.time_us)
            colors = range_colors(np.linalg.norm(cloud.points[seen.visible], axis=1))
            points = rr.Points2D(seen.uv[seen.visible] + 0.5, colors=colors, radii=rr.Radius.ui_points(1.5))
            recording.log(_entity(rr, clip, f"{entity}/", name, "lidar"), points)
    return True


def _transform(rr: Any, world_SE3_body: np.ndarray) -> Any:
    return rr.Transform3D(translation=world_SE3_body[:3, 3], mat3x3=world_SE3_body[:3, :3])
