"""Index of a folder of the published multi-view guide: its files are trained on where they are, nothing is copied.

The index is a folder of Energon shards whose samples hold a description alone, with the paths of the videos, captions
and embeddings. It lies in ``.multiview`` of the folder, or in the user's cache where that cannot be written to, under a
name that changes with the files.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.common_clock import ClockedRun
from cosmos_lidar.clips.multiview_folder import VIDEOS, MultiviewFolder, clip_id_of, find_multiview_folder
from cosmos_lidar.clips.readers.multiview import open_clip
from cosmos_lidar.clips.rig import lens_entry
from cosmos_lidar.clips.view_ids import PUBLISHED_IDS
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.files import visible_files
from cosmos_lidar.log import logger
from cosmos_lidar.parallel.made_once import made_once
from cosmos_lidar.shards.journaled import Item, shard_plan, write_journaled
from cosmos_lidar.shards.latents import array_bytes
from cosmos_lidar.shards.manifest import ENERGON
from cosmos_lidar.shards.multiview import DOCUMENT, META, POSES, CameraFiles, MultiviewMeta, write_meta
from cosmos_lidar.shards.multiview_writer import KIND, camera_poses, write_document
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.sources import DataPath, entries_of, with_entries
from cosmos_lidar.shards.sweeps import PackedRun
from cosmos_lidar.shards.text_files import PREFIXES, find_embedding, read_embedding, write_embeddings

INDEX = ".multiview"
_VERSION = 2  # of the index: increment when the same files give another one


def with_indices(path: DataPath, bad_budget: float) -> DataPath:
    """Return ``data.path`` with every folder of published layout replaced by its index, which is made when absent.

    Args:
        path: as of a loader; weights stay.
        bad_budget: largest share of clips that cannot be used.

    Raises:
        DataError: a camera without videos, or too many clips that cannot be used.
    """
    found = {entry: index for entry in entries_of(path) if (index := _index_of(entry, bad_budget)) is not None}
    return with_entries(path, found) if found else path


def _index_of(entry: Path, bad_budget: float) -> Path | None:
    if (entry / ENERGON).is_dir() or not entry.is_dir():
        return None
    folder = find_multiview_folder(entry)
    return None if folder is None else index_folder(folder, bad_budget)


def index_folder(folder: MultiviewFolder, bad_budget: float = 0.0) -> Path:
    """Return the index of a folder of published layout; rank 0 makes it when absent.

    The clips are split as published: the last tenth of them by name, and at least one, is for validation.

    Raises:
        DataError: a camera without videos, or too many clips that cannot be used.
    """
    folder.check_cameras()
    index = _place_of(folder)

    def make() -> None:
        logger.info("%s: %d clips of %d cameras; the index goes to %s", folder.root, len(folder.clips),
                    len(folder.cameras), index)  # fmt: skip
        _write_index(folder, index, bad_budget)

    return made_once(index, index / DOCUMENT, make)


def _place_of(folder: MultiviewFolder) -> Path:
    name = _fingerprint(folder)
    if os.access(folder.root, os.W_OK) or (folder.root / INDEX / name / DOCUMENT).is_file():
        return folder.root / INDEX / name
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "cosmos_lidar" / "multiview" / name


def _fingerprint(folder: MultiviewFolder) -> str:
    """Return 16 digits that change with names, sizes and times of the files."""
    digest = hashlib.sha256(f"{_VERSION} {folder.root.resolve()} {folder.cameras}".encode())
    for camera in folder.cameras:
        prefix = _prefix_file(folder, camera)
        files = [file for clip in folder.clips for file in _files_of(folder, camera, clip)]
        for file in [*files, prefix]:
            digest.update(_state(file).encode())
    for tar in visible_files(folder.root / VIDEOS, "*/*.tar"):  # times, poses and lenses
        digest.update(_state(tar).encode())
    return digest.hexdigest()[:16]


def _files_of(folder: MultiviewFolder, camera: str, clip: str) -> tuple[Path | None, Path | None, Path | None]:
    """Return video, caption and embedding of a camera; None for what is not there."""
    video, caption = folder.video(camera, clip), folder.caption(camera, clip)
    return (video if video.is_file() else None, caption if caption.is_file() else None,
            find_embedding(folder.embedding(camera, clip)))  # fmt: skip


def _prefix_file(folder: MultiviewFolder, camera: str) -> Path | None:
    found = (find_embedding(stem) for stem in folder.prefixes(camera))
    return next((file for file in found if file is not None), None)


def _state(file: Path | None) -> str:
    if file is None:
        return "-;"
    found = file.stat()
    return f"{file} {found.st_size} {found.st_mtime_ns};"


def _write_index(folder: MultiviewFolder, index: Path, bad_budget: float) -> None:
    splits = published_split(folder.clips)
    items = {split: [(clip, _item(folder, clip)) for clip in clips] for split, clips in splits.items()}
    index.parent.mkdir(parents=True, exist_ok=True)
    records = write_journaled(shard_plan(items, PrepareOptions()), index, KIND, _fingerprint(folder), bad_budget)
    embedded = embedded_prefixes(folder)
    if embedded is not None:
        write_embeddings(index / PREFIXES, embedded, {"source": "published"})
    root = os.path.relpath(folder.root, index) if index.is_relative_to(folder.root) else str(folder.root.resolve())
    ids = {split: [clip_id_of(clip) for clip in clips] for split, clips in splits.items()}
    write_document(index, published_views(folder.cameras), records, ids, 0.0, root=root)


def published_views(cameras: Sequence[str]) -> dict[str, int]:
    """Return camera -> view id: as published; cameras with other names take the free ids in their order."""
    known = {name: PUBLISHED_IDS[name] for name in cameras if name in PUBLISHED_IDS}
    free = (number for number in range(len(cameras) + len(known)) if number not in known.values())
    return {name: known[name] if name in known else next(free) for name in cameras}


def published_split(clips: Sequence[str]) -> dict[str, list[str]]:
    """Return the clips of each split, as published: of N clips the last floor(N / 10) + 1 are for validation.

    A single clip is for training, where the published rule would leave none.
    """
    if len(clips) < 2:
        return {"train": list(clips)}
    held_out = len(clips) // 10 + 1
    return {"train": list(clips[:-held_out]), "val": list(clips[-held_out:])}


def embedded_prefixes(folder: MultiviewFolder) -> dict[str, np.ndarray] | None:
    """Return camera -> embedding of its sentence (rows, width); None where there are none.

    Raises:
        DataError: a file cannot be read, or some cameras have one and others not.
    """
    files = {camera: _prefix_file(folder, camera) for camera in folder.cameras}
    there = {camera: file for camera, file in files.items() if file is not None}
    if not there:
        return None
    missing = [camera for camera in files if camera not in there]
    if missing:
        wanted = folder.prefixes(missing[0])[0].name + ".pickle, as the other cameras have"
        raise DataError(f"no prefix embedding of camera {missing[0]}", file=folder.root / "cache", wanted=wanted)
    return {camera: read_embedding(file) for camera, file in there.items()}


def _item(folder: MultiviewFolder, clip: str) -> Item:
    video = folder.video(folder.cameras[0], clip)
    return Item(f"{clip_id_of(clip)}_000000", video, partial(_pack, folder, clip))


def _pack(folder: MultiviewFolder, clip: str) -> PackedRun:
    frames, fps = folder.facts(clip)
    opened, views = open_clip(folder, clip), published_views(folder.cameras)
    cameras = [opened.cameras[name] for name in views]
    run = ClockedRun(
        cameras[0].timestamps_us,
        np.tile(np.arange(frames), (len(cameras), 1)),
        np.stack([camera.timestamps_us for camera in cameras]),
    )
    poses, recorded = camera_poses(cameras, run), not opened.notes
    meta = MultiviewMeta(
        clip_id=opened.clip_id,
        cameras=list(views),
        view_ids=list(views.values()),
        frames=frames,
        fps=round(fps, 6),
        clock_us=run.clock_us.tolist() if recorded else [],
        times_us=run.times_us.tolist() if recorded else [],
        lenses=[None if camera.model is None else lens_entry(camera.model) for camera in cameras],
        files=[_camera_files(folder, camera, clip) for camera in folder.cameras],
    )
    parts = {META: write_meta(meta)} | ({} if poses is None else {POSES: array_bytes(poses)})
    return PackedRun(f"{opened.clip_id}_000000", parts, frames, 0)


def _camera_files(folder: MultiviewFolder, camera: str, clip: str) -> CameraFiles:
    names = [
        "" if file is None else file.relative_to(folder.root).as_posix() for file in _files_of(folder, camera, clip)
    ]
    return CameraFiles(*names)


def expect_folder(path: Path) -> MultiviewFolder:
    """Return the folder of published layout at a path.

    Raises:
        UserError: it is none.
    """
    folder = find_multiview_folder(path)
    if folder is None:
        raise UserError(f"{path}: no folder of published layout: expected videos/CAMERA/CLIP.mp4")
    folder.check_cameras()
    return folder
