"""Folders of the published multi-view post-training guide: clips of several cameras, a video for each, without a lidar.

Times, poses and lenses are those of the tars that the guide's Waymo converter writes beside the videos. Without them
there are no times: frames are at the rate of the container, counted from 0. The cameras of a clip are taken for one
clock. Captions and text embeddings are read where clips are prepared for training, not here. Not read: points
(``lidar_raw``, whose lidar is not known), poses of the vehicle, maps but lane lines.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip
from cosmos_lidar.clips.multiview_folder import (
    VIDEOS,
    MultiviewFolder,
    clip_id_of,
    find_multiview_folder,
    is_published,
)
from cosmos_lidar.clips.multiview_tables import camera_of, frame_numbers, read_poses, read_timestamps
from cosmos_lidar.clips.object_tables import open_boxes, open_lane_lines
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.readers.release.cameras import read_lenses
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.clips.video import VideoFile
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.sensor import Sensor

DESCRIPTION = "Multi-view post-training: folders of videos by camera, as the published Waymo guide makes them"
EXAMPLE_LAYOUT = """
videos/pinhole_front/10023947602400723454_1120_000_1140_000.mp4
videos/pinhole_front_left/10023947602400723454_1120_000_1140_000.mp4, …
metas/pinhole_front/10023947602400723454_1120_000_1140_000.txt                                (optional)

videos/left/CLIP.mp4, videos/right/CLIP.mp4          any names of cameras (generic)
"""
ASSUMED = "folders of videos are cameras of one vehicle, and files of one name are one clip"
_NOTE = "no times are recorded: frames are at the rate of the videos, all cameras on one clock"


def recognise(path: Path) -> Strength:
    """Return EXACT where there are videos of cameras with the published names, or captions beside them."""
    folder = find_multiview_folder(path)
    if folder is None:
        return Strength.NONE
    return Strength.EXACT if is_published(folder) else Strength.GENERIC


def open_clips(path: Path, sensor: Sensor | None = None, on_error: OnError | None = None) -> list[Clip]:
    """Return one clip for each name of the videos.

    Raises:
        DataError: a camera without videos, a clip that a camera lacks, or cameras of different lengths.
    """
    folder = find_multiview_folder(path)
    if folder is None:
        raise DataError("no videos in it", file=path, wanted="videos/CAMERA/CLIP.mp4")
    folder.check_cameras()
    return open_each((partial(open_clip, folder, clip) for clip in folder.clips), on_error)


def open_clip(folder: MultiviewFolder, clip: str) -> Clip:
    """Return the clip of a name.

    Raises:
        DataError: a camera lacks it, cameras of different lengths, or a tar beside the videos that is broken.
    """
    frames, fps = folder.facts(clip)
    videos = folder.root / VIDEOS
    stamps = read_timestamps(videos, clip, frames)
    if stamps is None:
        moments = np.rint(np.arange(frames) * (1e6 / fps)).astype(np.int64)
        stamps = dict(zip(frame_numbers(frames, fps).tolist(), moments.tolist(), strict=True))
        notes: tuple[str, ...] = (_NOTE,)
    else:
        notes = ()
    times_us, lenses = np.array(list(stamps.values()), np.int64), read_lenses(videos, clip)
    cameras = {}
    for name in folder.cameras:
        poses = read_poses(videos, clip, camera_of(name), list(stamps))
        video, lens = VideoFile(folder.video(name, clip), clip), lenses.get(camera_of(name))
        cameras[name] = CameraStream(name, times_us, video, lens, poses)
    boxes, lines = open_boxes(videos, clip, stamps), open_lane_lines(videos, clip)
    return Clip(clip_id_of(clip), folder.root, "multiview", {}, cameras, notes, boxes=boxes, lane_lines=lines)
