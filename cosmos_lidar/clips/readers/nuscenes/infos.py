"""Cameras of nuScenes sweeps from an info file of mmdetection3d (``nuscenes_infos_*.pkl``, format 1.1).

Such files hold, for each key frame, lens and place of every camera, and are what is left of nuScenes where its tables
were not kept. They are pickles: only plain values and numpy arrays are let in, anything else is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.bounds import read_file
from cosmos_lidar.clips.clip import CameraStream
from cosmos_lidar.clips.files import ImageFiles, image_size
from cosmos_lidar.errors import DataError
from cosmos_lidar.pickles import load_arrays
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.sensors.rigid import pose_of_file

_WANTED = "an info file of mmdetection3d in format 1.1: data_list, with lidar_points and images"

Infos = Mapping[str, Mapping[str, Any]]


def read_infos(path: Path) -> Infos:
    """Return the entries of an info file, by the name of the file of their sweep.

    Raises:
        DataError: no such file, a pickle that refers to anything but numbers and arrays, or other content.
    """
    try:
        content = load_arrays(read_file(path, "an info file"))
        return {Path(entry["lidar_points"]["lidar_path"]).name: entry for entry in content["data_list"]}
    except DataError:
        raise
    except Exception as error:  # pickles fail in every way there is
        raise DataError(f"not readable: {error!r:.120}", file=path, wanted=_WANTED) from error


def info_cameras(
    infos: Infos, file: Path, sweeps: Sequence[Path], clip: str, ours_R_theirs: np.ndarray
) -> dict[str, CameraStream]:
    """Return the cameras of sweeps whose images are on disk: the images taken with each key frame.

    Lens and mounting are those of the first key frame.

    Args:
        infos: of :func:`read_infos`.
        file: that they are from; images are looked for in ``samples/CHANNEL`` beside it, or where it says.
        sweeps: files of the clip, in the order of time.
        clip: name of the clip.
        ours_R_theirs: (3, 3) turns the axes of the info file's lidar into ours.

    Raises:
        DataError: a camera without lens or place; the message names clip and camera.
    """
    found: dict[str, list[tuple[Path, Mapping[str, Any]]]] = {}
    for sweep in sweeps:
        for channel, image in infos.get(sweep.name, {}).get("images", {}).items():
            path = _image_file(file.parent, channel, str(image.get("img_path", "")))
            if path is not None:
                found.setdefault(channel, []).append((path, image))
    cameras = {}
    for channel, taken in sorted(found.items()):
        images, (_, first) = tuple(path for path, _ in taken), taken[0]
        stamps = np.array([_stamp_us(path, image, file, clip) for path, image in taken], np.int64)
        what = f"{channel} of clip {clip}"
        camera_SE3_lidar = pose_of_file(first.get("lidar2cam"), file, "lidar2cam", "lidar to camera axes", what)
        lidar_SE3_camera = np.linalg.inv(camera_SE3_lidar)
        lidar_SE3_camera[:3] = ours_R_theirs @ lidar_SE3_camera[:3]
        lens = _lens(first, images[0], file, clip, channel)
        reader = ImageFiles(images, clip)
        cameras[channel] = CameraStream(channel, stamps, reader, lens, lidar_SE3_camera=lidar_SE3_camera)
    return cameras


def _image_file(root: Path, channel: str, name: str) -> Path | None:
    places = (root / "samples" / channel / Path(name).name, root / name)
    return next((place for place in places if name and place.is_file()), None)


def _stamp_us(path: Path, image: Mapping[str, Any], file: Path, clip: str) -> int:
    stamp = path.stem.rpartition("__")[2]
    if stamp.isdecimal():
        return int(stamp)
    try:
        return round(float(image["timestamp"]) * 1e6)
    except (KeyError, TypeError, ValueError) as error:
        wanted = "microseconds in the name of the image, or seconds in the info file"
        raise DataError(f"{path.name} has no stamp", file=file, clip=clip, key="timestamp", wanted=wanted) from error


def _lens(image: Mapping[str, Any], path: Path, file: Path, clip: str, channel: str) -> PinholeCamera:
    try:
        matrix = np.array(image["cam2img"], np.float64)
        return PinholeCamera(matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], *image_size(path))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        problem = f"{channel} has no lens: {error!r}"
        raise DataError(problem, file=file, clip=clip, key="cam2img", wanted="3 x 3 numbers, pixels") from error
