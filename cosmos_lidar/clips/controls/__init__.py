"""Control images: what of a scene is drawn into a camera, to generate from; one file each, found by its ``CONTROL``.

``open`` of a :class:`Control` prepares a clip and returns what draws the image of a camera, by its lens and its place:
a pixel shows what the same pixel of the camera's video shows. The rest is black.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip
from cosmos_lidar.clips.fit_images import Lens
from cosmos_lidar.errors import DataError, UserError

# (camera, number of the image, (height, width) or None for the camera's own) -> (H, W, 3) uint8
Draw = Callable[[CameraStream, int, tuple[int, int] | None], np.ndarray]


@dataclass(frozen=True)
class Control:
    """A kind of control images.

    Attributes:
        name: as it is written in options.
        help: what is drawn, in a few words.
        open: clip -> what draws its images; raises DataError for a clip that has nothing to draw.
    """

    name: str
    help: str
    open: Callable[[Clip], Draw]


def find_controls() -> dict[str, Control]:
    """Return the kinds of control images of the files in this folder, by name."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_"))
    controls = [importlib.import_module(f"{__name__}.{name}").CONTROL for name in names]
    return {control.name: control for control in controls}


def parse_controls(text: str) -> tuple[str, ...]:
    """Return the names in an option such as ``depth,boxes``; none for an empty text.

    Raises:
        UserError: a kind that there is not, or one twice.
    """
    names = tuple(name.strip() for name in text.split(",")) if text else ()
    check_controls(names)
    return names


def check_controls(names: tuple[str, ...] | list[str]) -> None:
    """Refuse kinds of control images that there are not, or that are named twice.

    Raises:
        UserError: the message names the valid ones.
    """
    known = find_controls() if names else {}
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None or len(set(names)) < len(names):
        raise UserError(f"control images {', '.join(names)}: valid: {', '.join(known)}, each once")


def camera_SE3_world_of(clip: Clip, camera: CameraStream, image: int) -> np.ndarray:
    """Return camera_SE3_world (4, 4) of an image.

    Raises:
        DataError: the camera has no poses.
    """
    if camera.world_SE3_camera is None:
        wanted = "poses of its images: what is drawn is in the world"
        raise DataError(f"camera {camera.name} has no poses", file=clip.source, clip=clip.clip_id, wanted=wanted)
    return np.linalg.inv(camera.world_SE3_camera[image])


def lens_for(clip: Clip, camera: CameraStream, size: tuple[int, int] | None) -> Lens:
    """Return the lens of a camera for images of ``size`` (height, width); None for its own size.

    Raises:
        DataError: the camera is not calibrated.
    """
    if camera.model is None:
        wanted = "a calibrated camera: control images are drawn by its lens"
        raise DataError(f"camera {camera.name} has no lens", file=clip.source, clip=clip.clip_id, wanted=wanted)
    return camera.model if size is None else camera.model.resized(size[1], size[0])
