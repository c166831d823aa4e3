"""View ids: which row of a multi-view network's view table stands for a camera, by where the camera looks.

The table has seven rows; the published seven-camera order, clockwise from the front:

    0 front   1 front right (cross right)   2 side or rear right   3 rear
    4 side or rear left   5 front left (cross left)   6 front, narrow (tele)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from cosmos_lidar.clips.clip import CameraStream
from cosmos_lidar.errors import UserError

FRONT = 0
VIEW_NAMES = ("front", "front_right", "side_right", "rear", "side_left", "front_left", "front_tele")
PUBLISHED_IDS: Mapping[str, int] = {
    "pinhole_front": 0,
    "pinhole_front_right": 1,
    "pinhole_side_right": 2,
    "pinhole_side_left": 4,
    "pinhole_front_left": 5,
    "camera_front_wide_120fov": 0,
    "camera_cross_right_120fov": 1,
    "camera_rear_right_70fov": 2,
    "camera_rear_tele_30fov": 3,
    "camera_rear_left_70fov": 4,
    "camera_cross_left_120fov": 5,
    "camera_front_tele_30fov": 6,
}
_YAW_DEG = (0.0, -50.0, -110.0, 180.0, 110.0, 50.0, 0.0)  # to the left of forward
_TELE, _TELE_FOV_DEG = 6, 45.0
_NARROW_AHEAD_DEG = 60.0  # what a narrow lens in the row of a wide one counts, as degrees away
_NOT_NARROW_DEG = 150.0  # a wide lens in the row of the narrow one, wherever it looks


def view_ids(cameras: Sequence[CameraStream]) -> dict[str, int]:
    """Return camera name -> view id: published names as published, else the row whose direction is nearest.

    Every camera gets a row of its own; cameras beyond the seventh get the numbers from 7 on. Where a direction is not
    known, rows are taken in the order of the cameras.

    Args:
        cameras: of one clip, in any order.
    """
    names = [camera.name for camera in cameras]
    if all(name in PUBLISHED_IDS for name in names):
        return {name: PUBLISHED_IDS[name] for name in names}
    directions = [direction_deg(camera) for camera in cameras]
    if any(yaw is None for yaw in directions):
        return {name: number for number, name in enumerate(names)}
    cost = np.array([_costs(yaw or 0.0, _is_narrow(camera)) for yaw, camera in zip(directions, cameras, strict=True)])
    rows, ids = linear_sum_assignment(cost)
    found = {names[row]: int(number) for row, number in zip(rows, ids, strict=True)}
    beyond = (name for name in names if name not in found)
    return found | {name: len(VIEW_NAMES) + number for number, name in enumerate(beyond)}


def parse_views(text: str, known: Mapping[str, int]) -> dict[str, int]:
    """Return the cameras of an option such as ``front,left=5`` with their view ids, in the order given.

    Args:
        text: names, each with an id after ``=`` where it is to have another; ``all`` stands for every camera.
        known: camera name -> view id.

    Raises:
        UserError: a camera that is not there, named twice, or an id that is no number from 0 on or used twice.
    """
    chosen: dict[str, int] = dict(known) if text == "all" else {}
    for item in () if text == "all" else text.split(","):
        name, equals, number = (part.strip() for part in item.partition("="))
        if name not in known:
            raise UserError(f"no camera {name!r}; valid: all, {', '.join(known)}")
        if equals and not number.isdecimal():
            raise UserError(f"view id of {item!r}: expected a number from 0 on, such as {name}=0")
        if name in chosen:
            raise UserError(f"camera {name} is named twice in {text!r}")
        chosen[name] = int(number) if equals else known[name]
    check_ids(chosen)
    return chosen


def check_ids(ids: Mapping[str, int]) -> None:
    """Refuse two cameras of one view id.

    Raises:
        UserError: which cameras they are.
    """
    seen: dict[int, str] = {}
    for name, number in ids.items():
        if number in seen:
            raise UserError(
                f"cameras {seen[number]} and {name} both have view id {number}: give others, as {name}=3 does"
            )
        seen[number] = name


def direction_deg(camera: CameraStream) -> float | None:
    """Return where a camera looks, degrees to the left of forward in (-180, 180]; None where no mounting is known."""
    pose = camera.ego_SE3_camera if camera.ego_SE3_camera is not None else camera.lidar_SE3_camera
    if pose is None:
        return None
    return float(np.degrees(np.arctan2(pose[1, 2], pose[0, 2])))


def _is_narrow(camera: CameraStream) -> bool:
    """Return whether the image spans less than 45 degrees from its left to its right edge."""
    lens = camera.model
    if lens is None:
        return False
    middle = (lens.height - 1) / 2.0
    edges = lens.unproject(np.array([[0.0, middle], [lens.width - 1.0, middle]]))
    cosine = float(edges[0] @ edges[1] / (np.linalg.norm(edges[0]) * np.linalg.norm(edges[1])))
    return bool(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))) < _TELE_FOV_DEG)


def _costs(yaw_deg: float, narrow: bool) -> list[float]:
    """Return what each row of the table would cost a camera: degrees between the directions."""
    apart = [abs((yaw_deg - row + 180.0) % 360.0 - 180.0) for row in _YAW_DEG]
    apart[FRONT] += _NARROW_AHEAD_DEG if narrow else 0.0
    apart[_TELE] = apart[_TELE] if narrow else _NOT_NARROW_DEG
    return apart
