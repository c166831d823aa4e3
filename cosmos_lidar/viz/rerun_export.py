"""A clip as a Rerun recording (.rrd): sweeps, labels, range maps, path, and cameras with lidar on them.

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
from cosmos_lidar.extras import require
from cosmos_lidar.files import atomic_write
from cosmos_lidar.progress import track
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.viz.label_colors import class_colors, class_names
from cosmos_lidar.viz.range_map import range_colors, range_map_image
from cosmos_lidar.viz.recording_frames import image_number, is_placed, range_map_of


def write_rrd(path: str | Path, clip: Clip, frames: Sequence[int] | None = None) -> Path:
    """Write sweeps of a clip to a Rerun file, atomically.

    Entities: ``world/path`` (ego path), ``world/lidar`` (pose) with ``world/lidar/points`` colored by range and
    ``world/lidar/labels`` by semantic class, ``range_map`` as an image, and ``world/NAME`` for each camera (pose, and
    lens where it is a pinhole) with the image that belongs to the sweep and ``world/NAME/lidar``, the points on it,
    colored by range. Time lines: ``frame`` (number of the sweep) and ``time`` (start of the sweep).

    Args:
        path: file to write.
        clip: the recording.
        frames: numbers of the sweeps; all when None.

    Raises:
        UserError: rerun-sdk is not installed.
    """
    rr = require("rerun")
    with atomic_write(path) as partial:
        recording = rr.RecordingStream("cosmos_lidar", recording_id=clip.clip_id)
        recording.save(partial)
        recording.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        if clip.world_SE3_lidar is not None:
            recording.log("world/path", rr.LineStrips3D([clip.world_SE3_lidar[:, 0, :3, 3]]), static=True)
        for index in track(range(len(clip)) if frames is None else frames, "rerun", "frames"):
            recording.set_time("frame", sequence=int(index))
            recording.set_time("time", timestamp=np.datetime64(int(clip.timestamps_us[index][0]), "us"))
            cloud = _log_sweep(rr, recording, clip, index)
            for camera in clip.cameras.values():
                _log_camera(rr, recording, clip, camera, index, cloud)
        recording.flush()
        recording.disconnect()
    return Path(path)


def _log_sweep(rr: Any, recording: Any, clip: Clip, index: int) -> Sweep:
    """Log a sweep and return its points with their values."""
    sweep = clip.read_sweep(index)
    cloud = to_points(sweep, clip.sensor)
    points = np.asarray(cloud.points)
    if clip.world_SE3_lidar is not None:
        recording.log("world/lidar", _transform(rr, clip.world_SE3_lidar[index][0]))
    radii = rr.Radius.ui_points(1.5)
    colors = range_colors(np.linalg.norm(points, axis=1))
    recording.log("world/lidar/points", rr.Points3D(points, colors=colors, radii=radii))
    if cloud.labels is not None:
        ids = np.unique(cloud.labels)
        names = class_names(clip.format)
        colored = zip(ids.tolist(), class_colors(ids).tolist(), strict=True)
        legend = [(one, names.get(one, str(one)), tuple(color)) for one, color in colored]
        recording.log("world/lidar/labels", rr.AnnotationContext(legend))
        recording.log("world/lidar/labels", rr.Points3D(points, class_ids=cloud.labels, radii=radii))
    recording.log("range_map", rr.Image(range_map_image(range_map_of(clip.lidar, sweep, index))).compress())
    return cloud


def _log_camera(rr: Any, recording: Any, clip: Clip, camera: CameraStream, index: int, cloud: Sweep) -> None:
    number = image_number(clip, camera, index)
    if number is None:
        return
    entity = f"world/{camera.name}"
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
        entity = camera.name
    recording.log(entity, rr.Image(camera.read(number)).compress())
    if is_placed(clip, camera) and cloud.points is not None:
        seen = project_sweep(clip, camera, index, number, cloud.points, cloud.time_us)
        colors = range_colors(np.linalg.norm(cloud.points[seen.visible], axis=1))
        places = seen.uv[seen.visible] + 0.5
        recording.log(f"{entity}/lidar", rr.Points2D(places, colors=colors, radii=rr.Radius.ui_points(1.5)))


def _transform(rr: Any, world_SE3_body: np.ndarray) -> Any:
    return rr.Transform3D(translation=world_SE3_body[:3, 3], mat3x3=world_SE3_body[:3, :3])
