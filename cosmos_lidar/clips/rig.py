"""Cameras on a car as a file: lenses and places, for images that come without a recording.

    cameras:
      - name: front
        lens: {kind: pinhole, fx: 1000, fy: 1000, cx: 959.5, cy: 539.5, width: 1920, height: 1080}
        lidar_SE3_camera: [[0, 0, 1, 1.5], [-1, 0, 0, 0], [0, -1, 0, -0.3], [0, 0, 0, 1]]
      - name: left
        lens: {kind: ftheta, intrinsics: [cx, cy, width, height, k0, k1, k2, k3, k4, k5, is_backward]}
        lidar_SE3_camera: …

A pinhole lens may have ``distortion: [k1, k2, p1, p2, k3]``, as OpenCV has them. The pose takes camera axes (x right,
y down, z forward) to lidar axes, meters.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cosmos_lidar.errors import DataError
from cosmos_lidar.files import read_yaml
from cosmos_lidar.sensors.ftheta import FThetaCamera
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.sensors.rigid import pose_of_file

_PINHOLE = ("fx", "fy", "cx", "cy", "width", "height")


@dataclass(frozen=True)
class MountedCamera:
    """One camera of a rig.

    Attributes:
        name: of the camera.
        model: its lens.
        lidar_SE3_camera: (4, 4) float64.
    """

    name: str
    model: PinholeCamera | FThetaCamera
    lidar_SE3_camera: np.ndarray


def load_rig(path: Path) -> list[MountedCamera]:
    """Return the cameras of a rig file, in their order.

    Raises:
        DataError: no readable file, or a camera that lacks something; names the file and the camera.
    """
    wanted = "a rig: cameras, each with name, lens and lidar_SE3_camera"
    cameras = read_yaml(path, wanted).get("cameras")
    if not isinstance(cameras, list) or not cameras:
        raise DataError("no cameras", file=path, wanted=wanted)
    return [_camera(entry, number, path) for number, entry in enumerate(cameras)]


def save_rig(path: Path, cameras: list[MountedCamera]) -> None:
    """Write a rig file."""
    entries = [
        {"name": camera.name, "lens": lens_entry(camera.model), "lidar_SE3_camera": camera.lidar_SE3_camera.tolist()}
        for camera in cameras
    ]
    path.write_text(yaml.safe_dump({"cameras": entries}, sort_keys=False, default_flow_style=None), encoding="utf-8")


def _camera(entry: Any, number: int, path: Path) -> MountedCamera:
    name = str(entry.get("name", number)) if isinstance(entry, dict) else str(number)
    missing = [key for key in ("lens", "lidar_SE3_camera") if not isinstance(entry, dict) or key not in entry]
    if missing:
        raise DataError(f"camera {name} has no {missing[0]}", file=path, wanted="name, lens and lidar_SE3_camera")
    axes = "camera axes to lidar axes"
    pose = pose_of_file(entry["lidar_SE3_camera"], path, "lidar_SE3_camera", axes, f"camera {name}")
    return MountedCamera(name, lens_of_entry(entry["lens"], name, path), pose)


def lens_of_entry(entry: Any, name: str, path: Path) -> PinholeCamera | FThetaCamera:
    """Return the lens that an entry of a file describes.

    Args:
        entry: ``kind`` and its numbers.
        name: of the camera, for messages.
        path: of the file, for messages.

    Raises:
        DataError: an unknown kind, or numbers missing.
    """
    kind = entry.get("kind") if isinstance(entry, dict) else None
    try:
        if kind == "pinhole":
            fx, fy, cx, cy = (float(entry[key]) for key in _PINHOLE[:4])
            distortion = tuple(float(value) for value in entry.get("distortion", ()))
            return PinholeCamera(fx, fy, cx, cy, int(entry["width"]), int(entry["height"]), distortion)
        if kind == "ftheta":
            return FThetaCamera.from_vector(np.array(entry["intrinsics"], np.float64))
    except (KeyError, TypeError, ValueError) as error:
        wanted = f"kind, {', '.join(_PINHOLE)}, or kind and intrinsics (11 or 14 numbers)"
        raise DataError(f"camera {name}: {error!r}", file=path, key="lens", wanted=wanted) from error
    raise DataError(f"camera {name}: kind {kind!r}", file=path, key="lens", wanted="kind pinhole or ftheta")


def lens_entry(model: PinholeCamera | FThetaCamera) -> dict[str, Any]:
    """Return the entry of a file that describes a lens."""
    if isinstance(model, FThetaCamera):
        return {"kind": "ftheta", "intrinsics": model.to_vector().tolist()}
    numbers = {key: float(getattr(model, key)) for key in _PINHOLE[:4]}
    bent = {"distortion": [float(value) for value in model.distortion]} if model.distortion else {}
    return {"kind": "pinhole", **numbers, "width": int(model.width), "height": int(model.height), **bent}
