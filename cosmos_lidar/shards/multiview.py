"""Clips of several cameras on one clock in Energon shards: the sample format of multi-view video diffusion.

Parts of sample ``KEY``, next to each other in the tar::

    KEY.NAME.mp4          video of camera NAME; all cameras have the same number of frames
    KEY.NAME.000007.jpg   or, instead of it, its frames
    KEY.NAME.txt          caption of the camera, optional
    KEY.NAME.text.npy     embedding of the caption (rows, width), float16 or float32, optional
    KEY.control-KIND.NAME.mp4   control video of the camera, optional: what of the scene is drawn into it
    KEY.lidar-range.mp4   range images of the main lidar at the instants, optional
    KEY.poses.npy         world_SE3_camera (V, T, 4, 4) float64, where all are known
    KEY.meta.json         clip, cameras and their view ids, frame rate, times, lenses, mountings

``multiview.json`` describes the folder. Embeddings of captions may also lie beside the shards (``text.safetensors``).
A sample of a folder of published layout has its description alone, with the paths of the files instead of their
content (:mod:`cosmos_lidar.shards.multiview_folder`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.clips.images import read_image
from cosmos_lidar.clips.video import VideoFile
from cosmos_lidar.clips.view_ids import FRONT
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.files import parse_json, read_text
from cosmos_lidar.shards.facts import agree, first_sample
from cosmos_lidar.shards.sample_meta import META, decode_meta, encode_meta
from cosmos_lidar.shards.sources import Part, Sources

DOCUMENT = "multiview.json"
SAMPLE_TYPE = "multiview"  # of energon_tasks.multiview
POSES = "poses.npy"
VIDEO, IMAGE, CAPTION, EMBEDDING = ".mp4", ".jpg", ".txt", ".text.npy"
RANGES = "lidar-range.mp4"
CONTROL = "control-"  # before the kind of a control video
_VERSION = 1
_WANTED = "a folder that `cosmos-lidar prepare --task multiview` wrote"


@dataclass(frozen=True)
class CameraFiles:
    """Files of one camera of a sample that are not in the tar, relative to the root that the folder's document names.

    Attributes:
        video: mp4.
        caption: text file; empty where there is none.
        embedding: of the caption; empty where there is none.
    """

    video: str
    caption: str = ""
    embedding: str = ""


@dataclass(frozen=True, kw_only=True)
class MultiviewMeta:
    """Content of ``KEY.meta.json``.

    Attributes:
        clip_id: the clip that the frames come from.
        cameras: names, in the order of the views.
        view_ids: of each camera: its row in the view table of a network.
        frames: of each camera.
        fps: frames per second of the common clock.
        frame_ids: names of the instants.
        clock_us: the instants, microseconds; empty where no times are known.
        times_us: when the image of each camera was taken, in the order of the cameras.
        image_numbers: number of the image in the recording, in the order of the cameras.
        lenses: entry of each camera's lens, as in a rig file; None where unknown.
        mounts: (4, 4) nested lists of each camera: its axes to those of the vehicle; None where unknown.
        files: of each camera, for samples that name files instead of holding them.
        controls: kinds of control videos, of every camera.
    """

    clip_id: str
    cameras: list[str]
    view_ids: list[int]
    frames: int
    fps: float
    frame_ids: list[str] = field(default_factory=list)
    clock_us: list[int] = field(default_factory=list)
    times_us: list[list[int]] = field(default_factory=list)
    image_numbers: list[list[int]] = field(default_factory=list)
    lenses: list[dict[str, Any] | None] = field(default_factory=list)
    mounts: list[list[list[float]] | None] = field(default_factory=list)
    files: list[CameraFiles] = field(default_factory=list)
    controls: list[str] = field(default_factory=list)

    @property
    def front(self) -> int:
        """Place of the front view, whose caption is that of the clip; the first view where none is the front."""
        return self.view_ids.index(FRONT) if FRONT in self.view_ids else 0

    def place(self, view: str | int) -> int:
        """Return the place of a view, given by the name of its camera or its view id.

        Raises:
            DataError: the sample has no such view.
        """
        known: Sequence[object] = self.cameras if isinstance(view, str) else self.view_ids
        if view not in known:
            found = ", ".join(f"{name} ({number})" for name, number in zip(self.cameras, self.view_ids, strict=True))
            raise DataError(f"no view {view}", clip=self.clip_id, wanted=f"one of: {found}")
        return known.index(view)


def write_meta(meta: MultiviewMeta) -> bytes:
    """Return the content of ``KEY.meta.json``."""
    return encode_meta(meta, _VERSION)


def read_meta(content: bytes) -> MultiviewMeta:
    """Parse ``KEY.meta.json``.

    Raises:
        DataError: not JSON, of another version, or fields that are missing or contradict each other.
    """
    return decode_meta(content, _VERSION, _make_meta)


def _make_meta(document: dict[str, Any]) -> MultiviewMeta:
    files = [CameraFiles(**entry) for entry in document.pop("files", ())]
    meta = MultiviewMeta(**document, files=files)
    _check(meta)
    return meta


def _check(meta: MultiviewMeta) -> None:
    """Raise ValueError for a description whose fields contradict each other."""
    views = len(meta.cameras)
    if not views or not all(isinstance(name, str) and name for name in meta.cameras) or len(set(meta.cameras)) != views:
        raise ValueError(f"cameras {meta.cameras!r:.80}")
    if len(meta.view_ids) != views or not all(type(number) is int and number >= 0 for number in meta.view_ids):
        raise ValueError(f"view_ids {meta.view_ids!r:.80}")
    if type(meta.frames) is not int or meta.frames < 1 or not 0 <= float(meta.fps) < 1e6:
        raise ValueError(f"{meta.frames!r:.20} frames, {meta.fps!r:.20} per second")
    lists: dict[str, Sequence[Any]] = {
        "times_us": meta.times_us,
        "image_numbers": meta.image_numbers,
        "lenses": meta.lenses,
        "mounts": meta.mounts,
        "files": meta.files,
    }
    wrong = [name for name, values in lists.items() if values and len(values) != views]
    rows: list[Sequence[Any]] = [meta.clock_us, meta.frame_ids, *meta.times_us, *meta.image_numbers]
    if wrong or any(row and len(row) != meta.frames for row in rows):
        raise ValueError(f"{', '.join(wrong) or 'times'} of another length than the frames")
    for file in meta.files:
        if not all(lies_inside(name) for name in (file.video, file.caption, file.embedding)):
            raise ValueError(f"a file outside of its folder: {file!r:.120}")


def lies_inside(name: str) -> bool:
    """Return whether a path stays in the folder that it is relative to."""
    return isinstance(name, str) and not Path(name).is_absolute() and ".." not in Path(name).parts


class Frames:
    """``read`` of a camera whose frames are JPEG parts.

    Args:
        images: content of each frame, in order.
        name: of the camera, for messages.
    """

    def __init__(self, images: Sequence[bytes], name: str) -> None:
        self.images, self.name = images, name

    def __len__(self) -> int:
        return len(self.images)

    def __call__(self, index: int) -> np.ndarray:
        """Return frame ``index`` as (H, W, 3) uint8 RGB."""
        return read_image(self.images[index], key=image_part(self.name, index))


def image_part(name: str, number: int) -> str:
    """Return the name of the part that holds a frame of a camera."""
    return f"{name}.{number:06d}{IMAGE}"


def control_part(kind: str, camera: str) -> str:
    """Return the name of the part that holds a control video of a camera."""
    return f"{CONTROL}{kind}.{camera}{VIDEO}"


def open_frames(parts: Mapping[str, bytes], meta: MultiviewMeta, name: str) -> VideoFile | Frames:
    """Return the reader of a camera's frames that are in the tar: a video, or single images.

    Raises:
        DataError: a part is missing.
    """
    if name + VIDEO in parts:
        return VideoFile(Path(name + VIDEO), meta.clip_id, content=parts[name + VIDEO])
    names = [image_part(name, number) for number in range(meta.frames)]
    missing = next((part for part in names if part not in parts), None)
    if missing is not None:
        key = name + VIDEO if missing == names[0] else missing
        raise DataError("part missing", clip=meta.clip_id, key=key, wanted=f"{name}{VIDEO}, or every frame as {IMAGE}")
    return Frames([parts[part] for part in names], name)


@dataclass(frozen=True)
class MultiviewFacts:
    """What the samples of a folder have in common.

    Attributes:
        cameras: names, in the order of the views.
        view_ids: of each camera.
        longest: most frames in one sample.
        root: folder that the paths in descriptions are relative to; None where the tars hold everything.
        prefixes: sentence about each camera, for captions of every view; empty where there are none.
        controls: kinds of control videos that every sample has.
        sweeps: (rows, columns) of the range images that every sample has; empty where there are none.
    """

    cameras: tuple[str, ...]
    view_ids: tuple[int, ...]
    longest: int
    root: Path | None = None
    prefixes: Mapping[str, str] = field(default_factory=dict)
    controls: tuple[str, ...] = ()
    sweeps: tuple[int, ...] = ()


def read_facts(part: Part | Path) -> MultiviewFacts:
    """Return what ``multiview.json`` of a folder holds; without it, what the first sample does.

    Raises:
        DataError: it cannot be read, or is of another kind.
    """
    folder = part if isinstance(part, Path) else part.folder
    path = folder / DOCUMENT
    if not path.is_file() and isinstance(part, Part):
        meta = read_meta(first_sample(part).get(META, b""))
        return MultiviewFacts(tuple(meta.cameras), tuple(meta.view_ids), meta.frames, controls=tuple(meta.controls))
    try:
        document = parse_json(read_text(path))
        views = [(str(view["name"]), int(view["view_id"])) for view in document["views"]]
        root = document.get("root")
        if root is not None and not isinstance(root, str):
            raise TypeError(f"root {root!r:.60}")
        prefixes = {str(name): str(text) for name, text in document.get("prefixes", {}).items()}
        names, ids = zip(*views, strict=True)
        controls = tuple(str(kind) for kind in document.get("controls", ()))
        sweeps = tuple(int(side) for side in document.get("sweeps", ()))
        where = folder / root if root is not None else None
        return MultiviewFacts(names, ids, int(document["longest"]), where, prefixes, controls, sweeps)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"not readable: {error!r:.160}", file=path, wanted=_WANTED) from error


def read_multiview_facts(
    sources: Sources, views: Sequence[str | int] = (), controls: Sequence[str] = (), sweeps: Sequence[int] = ()
) -> dict[Path, MultiviewFacts]:
    """Return the facts of each folder of a split; all have the views that are asked for.

    Args:
        sources: folders of clips of several cameras.
        views: by the name of the camera or by view id; empty for all, which must then be the same everywhere.
        controls: kinds of control videos that are asked for.
        sweeps: (rows, columns) of range images that are asked for; empty for none.

    Raises:
        DataError: a ``multiview.json`` cannot be read.
        UserError: a folder lacks a view, control videos or range images, or folders have different views and none are
            asked for.
    """
    sources.expect(SAMPLE_TYPE)
    facts = {part.folder: read_facts(part) for part in sources.parts}
    for folder, found in facts.items():
        known = (*found.cameras, *found.view_ids)
        missing = [view for view in views if view not in known]
        if missing:
            there = ", ".join(f"{name} ({number})" for name, number in zip(found.cameras, found.view_ids, strict=True))
            raise UserError(f"{folder}: no view {missing[0]}; valid: {there}")
        lacking = [kind for kind in controls if kind not in found.controls]
        if lacking:
            raise UserError(
                f"{folder}: no control videos {lacking[0]!r}; valid: {', '.join(found.controls) or 'none'}: "
                f"`cosmos-lidar prepare --task multiview --control {','.join(controls)}` writes them"
            )
        if sweeps and tuple(sweeps) != found.sweeps:
            there = "x".join(map(str, found.sweeps)) or "none"
            raise UserError(
                f"{folder}: no range images of {'x'.join(map(str, sweeps))}; valid: {there}: "
                "`cosmos-lidar prepare --task multiview --sweeps ROWSxCOLUMNS` writes them"
            )
    if not views:
        agree(((folder, {"views": found.view_ids}) for folder, found in facts.items()), "clips of several cameras")
    return facts
