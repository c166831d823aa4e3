"""Boxes of objects as a control image: colored by kind, darker with distance, the nearer ones in front."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw
from scipy.spatial import ConvexHull, QhullError

from cosmos_lidar.clips.boxes import NO_BOXES, Boxes
from cosmos_lidar.clips.clip import CameraStream, Clip
from cosmos_lidar.clips.controls import Control, camera_SE3_world_of, lens_for
from cosmos_lidar.clips.controls._lines import project_line, segments
from cosmos_lidar.clips.controls._recent import Recent
from cosmos_lidar.clips.controls.depth import brightness
from cosmos_lidar.clips.fit_images import Lens
from cosmos_lidar.errors import DataError

COLORS = {"vehicle": (60, 120, 255), "person": (255, 70, 70), "cyclist": (70, 230, 110), "sign": (250, 220, 60),
          "other": (200, 120, 230)}  # fmt: skip
_FILLED = 0.6  # of the color, inside of the edges
_STEPS = 12  # points of an edge: edges are bent by lenses, and cut where they leave the view
_EDGES = [(a, a | bit) for a in range(8) for bit in (1, 2, 4) if not a & bit]
_FRONT = 4  # of corners: bit of those ahead


@dataclass(frozen=True)
class BoxImages:
    """Draws the boxes of a clip; those of the last moments are kept, as several cameras see them."""

    clip: Clip
    _recent: Recent[Boxes] = field(default_factory=Recent, compare=False)

    def __call__(self, camera: CameraStream, image: int, size: tuple[int, int] | None = None) -> np.ndarray:
        """Return (H, W, 3) uint8: boxes filled by kind, with edges in the full color, white ones at the front.

        Raises:
            DataError: the camera has no lens or no poses, or the boxes cannot be read.
        """
        lens = lens_for(self.clip, camera, size)
        drawn = Image.new("RGB", (lens.width, lens.height))
        boxes = self._boxes(int(camera.timestamps_us[image]))
        camera_SE3_world = camera_SE3_world_of(self.clip, camera, image)
        corners = boxes.corners() @ camera_SE3_world[:3, :3].T + camera_SE3_world[:3, 3]
        distance = np.linalg.norm(corners.mean(1), axis=-1)
        for place in np.argsort(-distance):
            shade = float(brightness(distance[place : place + 1])[0]) / 255.0
            _draw_box(drawn, lens, corners[place], np.array(COLORS[boxes.kinds[place]]) * shade)
        return np.asarray(drawn)

    def _boxes(self, time_us: int) -> Boxes:
        read = self.clip.boxes
        return NO_BOXES if read is None else self._recent.get(time_us, lambda: read(time_us))


def _draw_box(drawn: Image.Image, lens: Lens, corners: np.ndarray, color: np.ndarray) -> None:
    """Draw a box of corners (8, 3), in axes of the camera."""
    starts, ends = corners[[a for a, _ in _EDGES]], corners[[b for _, b in _EDGES]]
    along = np.linspace(0.0, 1.0, _STEPS)[None, :, None]
    uv = project_line(lens, (starts[:, None] + along * (ends - starts)[:, None]).reshape(-1, 3))
    seen = uv[np.isfinite(uv).all(-1)]
    if not len(seen) or not _touches(seen, lens):
        return
    draw = ImageDraw.Draw(drawn)
    outline = _hull(seen)
    if outline is not None:
        draw.polygon([tuple(point) for point in outline.tolist()], fill=_as_color(_FILLED * color))
    width = max(1, round(lens.width / 640))
    for (a, b), line in zip(_EDGES, uv.reshape(len(_EDGES), _STEPS, 2), strict=True):
        shown = (255, 255, 255) if a & _FRONT and b & _FRONT else _as_color(color)
        for _, start, end in segments(line):
            draw.line([start, end], fill=shown, width=width)


def _touches(seen: np.ndarray, lens: Lens) -> bool:
    low, high = seen.min(0), seen.max(0)
    return bool((high >= -0.5).all() and low[0] < lens.width - 0.5 and low[1] < lens.height - 0.5)


def _hull(points: np.ndarray) -> np.ndarray | None:
    """Return the outline of points (N, 2); None where they are fewer than three, or on a line."""
    try:
        return points[ConvexHull(points).vertices] if len(points) > 2 else None
    except QhullError:
        return None


def _as_color(values: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = np.rint(values).astype(int).tolist()
    return red, green, blue


def _open(clip: Clip) -> BoxImages:
    if clip.boxes is None:
        wanted = (
            "a recording whose boxes are read: synthetic drives, Waymo, nuScenes, Argoverse 2, PhysicalAI-AV, DDAD, "
        )
        wanted += "all_object_info"
        raise DataError("no boxes in it", file=clip.source, clip=clip.clip_id, wanted=wanted)
    return BoxImages(clip)


CONTROL = Control("boxes", "boxes of vehicles, people, cyclists and signs", _open)
