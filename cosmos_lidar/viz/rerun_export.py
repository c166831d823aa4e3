"""A clip as a Rerun recording (.rrd): sweeps, range maps, poses and cameras on one time line.

Needs the extra ``viz`` (rerun-sdk). The viewer is not started; ``rerun FILE.rrd`` opens the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip
from cosmos_lidar.extras import require
from cosmos_lidar.files import atomic_write
from cosmos_lidar.progress import track
from cosmos_lidar.viz.range_map import range_colors, range_map_image


def write_rrd(path: str | Path, clip: Clip, frames: Sequence[int] | None = None) -> Path:
    """Write sweeps of a clip to a Rerun file, atomically.

    Entities: ``world/lidar`` (pose) with ``world/lidar/points`` colored by range, ``range_map`` as an image, and
    ``world/NAME`` for each camera (pose, and lens where it is a pinhole) with its image nearest in time.
    Time lines: ``frame`` (number of the sweep) and ``time`` (start of the sweep).

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
        for index in track(range(len(clip)) if frames is None else frames, "rerun", "frames"):
            recording.set_time("frame", sequence=int(index))
            recording.set_time("time", timestamp=np.datetime64(int(clip.timestamps_us[index][0]), "us"))
            _log_sweep(rr, recording, clip, index)
            for camera in clip.cameras.values():
                _log_camera(rr, recording, camera, int(clip.timestamps_us[index][0]))
        recording.flush()
        recording.disconnect()
    return Path(path)


def _log_sweep(rr: object, recording: object, clip: Clip, index: int) -> None:
    points = clip.points(index)[:, :3]
    if clip.world_SE3_lidar is not None:
        recording.log("world/lidar", _transform(rr, clip.world_SE3_lidar[index][0]))
    colors = range_colors(np.linalg.norm(points, axis=1))
    recording.log("world/lidar/points", rr.Points3D(points, colors=colors, radii=rr.Radius.ui_points(1.5)))
    recording.log("range_map", rr.Image(range_map_image(clip.range_map(index))).compress())


def _log_camera(rr: object, recording: object, camera: CameraStream, time_us: int) -> None:
    if not len(camera):
        return
    nearest = int(np.argmin(np.abs(camera.timestamps_us - time_us)))
    entity = f"world/{camera.name}"
    if camera.world_SE3_camera is not None:
        recording.log(entity, _transform(rr, camera.world_SE3_camera[nearest]))
    lens = camera.model
    if hasattr(lens, "fx"):
        matrix = np.array([[lens.fx, 0, lens.cx + 0.5], [0, lens.fy, lens.cy + 0.5], [0, 0, 1]])
        pinhole = rr.Pinhole(
            image_from_camera=matrix, resolution=(lens.width, lens.height), camera_xyz=rr.ViewCoordinates.RDF
        )
        recording.log(entity, pinhole)
    recording.log(entity if hasattr(lens, "fx") else camera.name, rr.Image(camera.read(nearest)).compress())


def _transform(rr: object, world_SE3_body: np.ndarray) -> object:
    return rr.Transform3D(translation=world_SE3_body[:3, 3], mat3x3=world_SE3_body[:3, :3])
