"""Writing of clips of several cameras as Energon shards: frames on one clock, a video per camera, captions."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np

from cosmos_lidar.bounds import read_file
from cosmos_lidar.clips.camera_pose import vehicle_mount
from cosmos_lidar.clips.clip import CameraStream, Clip
from cosmos_lidar.clips.common_clock import ClockedRun, common_runs
from cosmos_lidar.clips.controls import check_controls, find_controls
from cosmos_lidar.clips.fit_images import Lens
from cosmos_lidar.clips.rig import lens_entry
from cosmos_lidar.clips.source_state import recording_state
from cosmos_lidar.clips.sweep_images import SweepImages, check_size
from cosmos_lidar.clips.video import VideoFile, are_regular, write_mp4
from cosmos_lidar.clips.view_ids import parse_views, view_ids
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.images import jpeg_bytes
from cosmos_lidar.shards.captions import ClipCaptions, clip_stem, prefix_sentences
from cosmos_lidar.shards.files import ShardRecord, write_text
from cosmos_lidar.shards.journaled import Item, Kind, shard_list, shard_plan, write_journaled
from cosmos_lidar.shards.latents import array_bytes
from cosmos_lidar.shards.multiview import (
    CAPTION,
    DOCUMENT,
    EMBEDDING,
    META,
    POSES,
    RANGES,
    SAMPLE_TYPE,
    VIDEO,
    MultiviewMeta,
    control_part,
    image_part,
    write_meta,
)
from cosmos_lidar.shards.plan import PrepareOptions, drives_of, split_ids
from cosmos_lidar.shards.sweeps import PackedRun
from cosmos_lidar.shards.text_files import PREFIXES, find_embedding, read_embedding, write_embeddings

Format = Literal["mp4", "jpg"]
KIND = Kind("clip", SAMPLE_TYPE, "multiview.journal.jsonl", DOCUMENT)
_ASKED = ("views", "fps", "image_size", "format", "tolerance_s", "frames_per_sample", "embeddings", "controls")
_KEY_EVERY = 16  # frames: a window of 29 anywhere decodes 8 more on average
_LARGEST_VIDEO = 1 << 32


@dataclass(frozen=True)
class MultiviewOptions:
    """How clips of several cameras are written.

    Attributes:
        views: ``all``, or cameras in the order of the views, each with another view id after ``=`` where wanted.
        fps: frames per second of the common clock; 0: as the first camera.
        image_size: (height, width) that images are scaled to, whatever their aspect; None keeps their size.
        format: ``mp4``, or each frame as ``jpg``.
        tolerance_s: how far an image may be from its instant; None: three quarters of its camera's period.
        frames_per_sample: most frames in one sample; 0: as many as there are without a gap.
        captions: of the clips.
        embeddings: folder of ``CAMERA/CLIP`` with the ending of an embedding's file, by
            :func:`~cosmos_lidar.shards.captions.clip_stem`; None for none.
        prefixes: camera -> embedding of a sentence about it (rows, width), for captions of every view.
        controls: kinds of control videos to draw, see :mod:`cosmos_lidar.clips.controls`.
        sweeps: (rows, columns) of range images of the main lidar; empty for none.
    """

    views: str = "all"
    fps: float = 0.0
    image_size: tuple[int, int] | None = None
    format: Format = "mp4"
    tolerance_s: float | None = None
    frames_per_sample: int = 0
    captions: ClipCaptions = field(default_factory=ClipCaptions)
    embeddings: Path | None = None
    prefixes: Mapping[str, np.ndarray] = field(default_factory=dict)
    controls: tuple[str, ...] = ()
    sweeps: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        check_controls(self.controls)
        check_size(self.sweeps, "--sweeps")
        if self.format not in get_args(Format):
            raise UserError(f"format {self.format!r}: valid: {', '.join(get_args(Format))}")
        if not 0 <= self.fps < 1000 or self.frames_per_sample < 0:
            raise UserError(f"fps {self.fps:g}, {self.frames_per_sample} frames: expected 0 or more")
        if self.tolerance_s is not None and self.tolerance_s < 0:
            raise UserError(f"tolerance {self.tolerance_s:g} s: expected 0 or more")


class _Text(NamedTuple):
    """Caption and file of the caption's embedding of a camera of a clip."""

    caption: str | None
    embedding: Path | None


def write_multiview(
    clips: Sequence[Clip], folder: Path, options: MultiviewOptions, prepare: PrepareOptions, jobs: int = 1
) -> list[ShardRecord]:
    """Write clips of several cameras as shards of type ``multiview`` and index them for Energon.

    A sample is a run of instants at which every camera has an image. Clips that lack a camera, or of which an image
    cannot be read, are skipped, listed in ``report.json``, and end the run when they are more than the budget.

    Args:
        clips: of any reader; those without cameras are skipped and counted.
        folder: output; empty or absent, or one in which the same call was interrupted.
        options: views, clock, size, captions.
        prepare: splits, samples per shard, seed, budget.
        jobs: processes.

    Returns:
        The shards, as ``folder/multiview.json`` lists them.

    Raises:
        DataError: no clip has cameras, the folder holds something else, or too many clips cannot be used.
        UserError: a camera that is not there, two views of one id, or fewer drives than splits.
    """
    views = _views_of(clips, options)
    names = {clip.clip_id: _items(clip, views, options) for clip in clips}
    if len(names) != len(clips):
        raise DataError("two clips of one id", file=clips[0].source, wanted="unique clip ids")
    counts = {name: len(items) for name, items in names.items()}
    splits = split_ids(counts, prepare, {clip.clip_id: clip.source for clip in clips})
    drives = drives_of(counts, prepare)
    items = {split: [(drives.get(name, ""), item) for name in mine for item in names[name]]
             for split, mine in splits.items()}  # fmt: skip
    plan = shard_plan(items, prepare)
    records = write_journaled(plan, folder, KIND, _fingerprint(clips, options, prepare), prepare.bad_budget, jobs)
    known = {name: rows for name, rows in options.prefixes.items() if name in views}
    if known:
        write_embeddings(folder / PREFIXES, known, {"source": "published"})
    write_document(folder, views, records, splits, options.fps, options.captions, controls=options.controls,
                   sweeps=options.sweeps)  # fmt: skip
    return records


def write_document(
    folder: Path,
    views: Mapping[str, int],
    records: Sequence[ShardRecord],
    splits: Mapping[str, Sequence[str]],
    fps: float,
    captions: ClipCaptions | None = None,
    root: str | None = None,
    controls: Sequence[str] = (),
    sweeps: Sequence[int] = (),
) -> None:
    """Write ``multiview.json``, last of all: its presence marks a finished folder.

    Args:
        folder: of the shards.
        views: camera -> view id, in the order of the views.
        records: the shards.
        splits: split -> clip ids.
        fps: that was asked for; 0: as recorded.
        captions: whose prefix sentences go in; None for the usual ones.
        root: folder of the files that descriptions name, relative to ``folder``; None where there are none.
        controls: kinds of control videos.
        sweeps: (rows, columns) of range images.
    """
    document = {
        "version": 1,
        "views": [{"name": name, "view_id": number} for name, number in views.items()],
        "longest": max(frames for record in records for frames in record.clips.values()),
        "fps": fps,
        "prefixes": prefix_sentences(views) if captions is None else captions.prefixes_of(views),
        **({} if root is None else {"root": root}),
        **({"controls": list(controls)} if controls else {}),
        **({"sweeps": list(sweeps)} if sweeps else {}),
        "clips": {split: list(names) for split, names in splits.items()},
        "shards": shard_list(records),
    }
    write_text(folder / DOCUMENT, json.dumps(document, indent=1) + "\n")


def _views_of(clips: Sequence[Clip], options: MultiviewOptions) -> dict[str, int]:
    """Return camera -> view id, from the first clip that has cameras."""
    first = next((clip for clip in clips if clip.cameras), None)
    if first is None:
        where = clips[0].source if clips else None
        raise DataError("no cameras in these recordings", file=where, wanted="recordings with cameras")
    return parse_views(options.views, view_ids(list(first.cameras.values())))


def _items(clip: Clip, views: Mapping[str, int], options: MultiviewOptions) -> list[Item]:
    """Return the samples of a clip; one that fails where the clip cannot be used."""
    state = recording_state(clip)
    try:
        runs = [part for run in _runs(clip, views, options) for part in _cut(run, options.frames_per_sample)]
        texts = _texts_of(clip.clip_id, views, options)
    except DataError as error:
        return [Item(clip.clip_id, clip.source, partial(_fail, error), state=f"{state} {error}")]
    state = f"{state} {[text.caption for text in texts.values()]}"
    files = tuple(text.embedding for text in texts.values() if text.embedding is not None)
    items, instants = [], 0
    for run in runs:
        key, pack = f"{clip.clip_id}_{instants:06d}", partial(_pack, clip, run, views, texts, options, instants)
        items.append(Item(key, clip.source, partial(pack, key), files, state))
        instants += len(run)
    return items


def _texts_of(clip_id: str, views: Mapping[str, int], options: MultiviewOptions) -> dict[str, _Text]:
    """Return camera -> its text.

    Raises:
        DataError: a caption cannot be read.
    """
    texts = {}
    for name, view_id in views.items():
        folder = None if options.embeddings is None else options.embeddings / name
        embedding = None if folder is None else find_embedding(clip_stem(folder, clip_id))
        texts[name] = _Text(options.captions.of(clip_id, name, view_id), embedding)
    return texts


def _fail(error: DataError) -> PackedRun:
    raise error


def _runs(clip: Clip, views: Mapping[str, int], options: MultiviewOptions) -> list[ClockedRun]:
    missing = [name for name in views if name not in clip.cameras]
    if missing:
        found = ", ".join(clip.cameras) or "none"
        raise DataError(
            f"no camera {missing[0]}", file=clip.source, clip=clip.clip_id, wanted=f"one of: {found}; or other --views"
        )
    try:
        runs = common_runs([clip.cameras[name] for name in views], options.fps, options.tolerance_s)
    except DataError as error:
        raise error.at(file=clip.source, clip=clip.clip_id) from error
    if not runs:
        wanted = "images of all cameras at one time (--tolerance)"
        raise DataError(
            "no instant at which every camera has an image", file=clip.source, clip=clip.clip_id, wanted=wanted
        )
    return runs


def _cut(run: ClockedRun, longest: int) -> Iterator[ClockedRun]:
    """Yield a run in as few parts as possible, of nearly equal length."""
    count = -(-len(run) // longest) if longest else 1
    bounds = [len(run) * part // count for part in range(count + 1)]
    yield from (run[start:stop] for start, stop in zip(bounds[:-1], bounds[1:], strict=True))


def _pack(
    clip: Clip,
    run: ClockedRun,
    views: Mapping[str, int],
    texts: Mapping[str, _Text],
    options: MultiviewOptions,
    first: int,
    key: str,
) -> PackedRun:
    cameras = [clip.cameras[name] for name in views]
    fps = options.fps or run.fps or 10.0
    parts: dict[str, bytes] = {}
    for camera, numbers in zip(cameras, run.numbers, strict=True):
        parts |= _pack_camera(camera, numbers, fps, options)
        text = texts[camera.name]
        if text.caption is not None:
            parts[camera.name + CAPTION] = text.caption.encode()
        if text.embedding is not None:
            parts[camera.name + EMBEDDING] = array_bytes(read_embedding(text.embedding))
    for kind in options.controls:
        parts |= _pack_control(clip, kind, cameras, run, fps, options.image_size)
    if options.sweeps:
        draw = SweepImages(clip, (options.sweeps[0], options.sweeps[1]))
        parts[RANGES] = _encoded((draw(time) for time in run.clock_us.tolist()), fps)
    poses = camera_poses(cameras, run)
    if poses is not None:
        parts[POSES] = array_bytes(poses)
    meta = MultiviewMeta(
        clip_id=clip.clip_id,
        cameras=list(views),
        view_ids=list(views.values()),
        frames=len(run),
        fps=round(fps, 6),
        frame_ids=[f"{number:06d}" for number in range(first, first + len(run))],
        clock_us=run.clock_us.tolist(),
        times_us=run.times_us.tolist(),
        image_numbers=run.numbers.tolist(),
        lenses=[_lens(camera.model, options.image_size) for camera in cameras],
        mounts=[None if mount is None else mount.tolist() for mount in (vehicle_mount(clip, one) for one in cameras)],
        controls=list(options.controls),
    )
    return PackedRun(key, {**parts, META: write_meta(meta)}, len(run), 0)


def _pack_camera(camera: CameraStream, numbers: np.ndarray, fps: float, options: MultiviewOptions) -> dict[str, bytes]:
    """Return the parts of a camera's images."""
    if options.format == "jpg":
        images = enumerate(_images(camera, numbers, options.image_size))
        return {image_part(camera.name, place): jpeg_bytes(image) for place, image in images}
    whole = _whole_video(camera, numbers, options.image_size, fps)
    return {camera.name + VIDEO: _encode(camera, numbers, fps, options) if whole is None else whole}


def _pack_control(
    clip: Clip, kind: str, cameras: Sequence[CameraStream], run: ClockedRun, fps: float, size: tuple[int, int] | None
) -> dict[str, bytes]:
    """Return the control videos of the cameras, images of the size of theirs."""
    draw, parts = find_controls()[kind].open(clip), {}
    for camera, numbers in zip(cameras, run.numbers, strict=True):
        images = (draw(camera, int(number), size) for number in numbers)
        parts[control_part(kind, camera.name)] = _encoded(images, fps)
    return parts


def _encode(camera: CameraStream, numbers: np.ndarray, fps: float, options: MultiviewOptions) -> bytes:
    return _encoded(_images(camera, numbers, options.image_size), fps)


def _encoded(images: Iterable[np.ndarray], fps: float) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "camera.mp4"
        write_mp4(path, images, fps, key_every=_KEY_EVERY)
        return path.read_bytes()


def _whole_video(camera: CameraStream, numbers: np.ndarray, size: tuple[int, int] | None, fps: float) -> bytes | None:
    """Return the file of a camera whose frames are just those, in their size and at this rate; checked."""
    video = camera.read
    if size is not None or not isinstance(video, VideoFile) or video.span is not None or video.content is not None:
        return None
    if len(video) != len(numbers) or (numbers != np.arange(len(numbers))).any() or video.path.suffix != VIDEO:
        return None
    times_s = video.times_s()
    rate = (len(times_s) - 1) / float(times_s[-1] - times_s[0]) if len(times_s) > 1 else fps
    if not are_regular(times_s) or abs(rate - fps) > 0.01 * fps:
        return None
    content = read_file(video.path, "a video", _LARGEST_VIDEO)
    VideoFile(video.path, video.clip_id, content).check()
    return content


def _images(camera: CameraStream, numbers: np.ndarray, size: tuple[int, int] | None) -> Iterator[np.ndarray]:
    for number in numbers:
        image = camera.read(int(number))
        yield image if size is None or image.shape[:2] == size else _resized(image, size)


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    resized = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR)  # antialiased, as published
    return np.asarray(resized)


def _lens(lens: Lens | None, size: tuple[int, int] | None) -> dict[str, object] | None:
    if lens is None:
        return None
    return lens_entry(lens if size is None else lens.resized(size[1], size[0]))


def camera_poses(cameras: Sequence[CameraStream], run: ClockedRun) -> np.ndarray | None:
    """Return world_SE3_camera (V, T, 4, 4) where all are known and finite."""
    known = [camera.world_SE3_camera for camera in cameras if camera.world_SE3_camera is not None]
    if len(known) < len(cameras):
        return None
    poses = np.stack([poses[numbers] for poses, numbers in zip(known, run.numbers, strict=True)])
    return poses.astype(np.float64) if np.isfinite(poses).all() else None


def _fingerprint(clips: Sequence[Clip], options: MultiviewOptions, prepare: PrepareOptions) -> str:
    asked = {key: getattr(options, key) for key in _ASKED} | ({"sweeps": options.sweeps} if options.sweeps else {})
    shares = {key: value for key, value in prepare.content().items() if key != "frames_per_sample"}
    content = [asked, shares, options.captions.fingerprint(), [(clip.clip_id, clip.format) for clip in clips]]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
