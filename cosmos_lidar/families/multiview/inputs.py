"""Inputs of multi-view generation: conditioning frames, text slots and view ids, from shards or from video files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cosmos_lidar.clips.fit_images import fit_frames
from cosmos_lidar.clips.video import VideoFile
from cosmos_lidar.clips.view_ids import FRONT
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.multiview.config import MultiviewDataConfig
from cosmos_lidar.families.multiview.rays import batch_rays
from cosmos_lidar.shards.captions import join_prefix, prefix_sentences, read_prompts
from cosmos_lidar.shards.text_files import SUFFIXES, read_embedding

EmbedTexts = Callable[[Sequence[str]], list[Tensor]]


@dataclass(frozen=True)
class ViewInput:
    """What a clip of V views is generated from.

    Attributes:
        name: of the outputs.
        cameras: names of the views.
        frames: (V, 3, T, H, W) uint8, recorded: the conditioning frames, T of 0 without any, and those that follow
            them, to compare with, where they are known.
        text: (V L, D) slots of the text; None for none.
        captions: text of each slot, for the record.
        fps: frames per second.
        rays: (V, rows, columns of tokens, 6) of calibrated cameras; None where they are not known.
        controls: kind -> control videos (V, 3, T, H, W) uint8, from the first conditioning frame on.
        sweeps: (1, 3, T, rows, columns) uint8 range images of a lidar, at the same moments; None for none.
    """

    name: str
    cameras: tuple[str, ...]
    frames: Tensor
    text: Tensor | None
    captions: tuple[str, ...]
    fps: float
    rays: Tensor | None = None
    controls: Mapping[str, Tensor] = field(default_factory=dict)
    sweeps: Tensor | None = None


def inputs_of_data(
    data: MultiviewDataConfig,
    path: Path,
    split: str,
    most: int | None = None,
    with_rays: bool = False,
    controls: Sequence[str] = (),
    frames: int = 0,
    sweeps: Sequence[int] = (),
) -> Iterator[ViewInput]:
    """Yield the middle window of each clip of a split, with views and text slots as in training.

    Args:
        data: options of the run.
        path: folder of ``prepare --task multiview``, or of the guide.
        split: such as ``val``.
        most: clips; None for all.
        with_rays: the network wants the rays of the cameras.
        controls: kinds of control videos to take.
        frames: of the window; 0 for those of the training. Chains of clips with control videos are longer.
        sweeps: (rows, columns) of range images to take; empty for none.

    Raises:
        DataError: the folder cannot be read, or has no such split; cameras without calibration, where rays are wanted.
        UserError: a view or control videos that are not there, or clips that are too short.
    """
    from energon_tasks.multiview import ViewWindow, multiview_loader

    window = ViewWindow(frames or data.frames, data.size, tuple(data.view_ids), data.stride, data.start_step, data.fit,
                        tuple(controls), tuple(sweeps))  # fmt: skip
    rows, width = data.text_shape or (1, 1)
    loader = multiview_loader(
        path, split, window=window, training=False, captions=data.captions if data.text_shape else "none",
        text_shape=(rows, width), always_pixels=True, batch_size=1, num_workers=0, limit=most,
        bad_sample_budget=data.bad_sample_budget,
    )  # fmt: skip
    for batch in loader:
        images, *drawn = batch.frames[0].split(data.views)
        name = f"{batch.clip_ids[0]}_{batch.starts[0]:06d}"
        text = batch.text[0] if data.text_shape else None
        rays = batch_rays(batch)[0] if with_rays else None
        yield ViewInput(
            name, tuple(batch.cameras[0]), images, text, tuple(batch.captions[0]),
            float(batch.fps[0]), rays, dict(zip(controls, drawn, strict=True)), batch.sweeps[0],
        )  # fmt: skip


def input_of_files(
    name: str, files: Sequence[Path], data: MultiviewDataConfig, conditional: int, text: Tensor | None,
    captions: Sequence[str] = (), controls: Mapping[str, Sequence[Path]] | None = None, total: int = 0,
    rays: Tensor | None = None,
) -> ViewInput:  # fmt: skip
    """Return the input of videos of any size: the last frames of each view are the conditioning frames.

    Images are scaled until they cover the size of the network, and cut in the middle, as published.

    Args:
        name: of the outputs.
        files: one for each view, or a single one that holds all views one after the other along time (published).
            None are needed without conditioning frames.
        data: options of the run.
        conditional: frames of each view.
        text: see :func:`text_slots`.
        captions: of the slots.
        controls: kind -> control videos, files as those of the views; their first frames are those of the result.
        total: frames of the result; 0 for those of one clip.
        rays: of the cameras, for a network that takes them: see ``read_rig_rays``.

    Raises:
        DataError: a file is no video, or has too few frames, or frames that the views do not divide.
        UserError: another number of files.
    """
    drawn = {kind: _control_of_files(some, data, total or data.frames) for kind, some in (controls or {}).items()}
    cameras = tuple(f"view_{number}" for number in data.view_ids)
    if not conditional:
        frames = torch.zeros(data.views, 3, 0, *data.size, dtype=torch.uint8)
        return ViewInput(name, cameras, frames, text, tuple(captions), data.fps, rays, drawn)
    frames = torch.stack([_last(*view, conditional, data.size) for view in _open_views(files, data.views)])
    return ViewInput(name, cameras, frames, text, tuple(captions), data.fps, rays, drawn)


def _control_of_files(files: Sequence[Path], data: MultiviewDataConfig, count: int) -> Tensor:
    """Return (V, 3, T, H, W) of the first frames of each view."""
    return torch.stack([_first(*view, count, data.size) for view in _open_views(files, data.views)])


def _open_views(files: Sequence[Path], views: int) -> list[tuple[VideoFile, int, int | None]]:
    """Return the video of each view, with the first of its frames and the one behind the last."""
    if len(files) == 1 and views > 1:
        return _views_in_one(files[0], views)
    if len(files) == views:
        return [(VideoFile(file), 0, None) for file in files]
    raise UserError(f"{len(files)} videos for {views} views: expected one of each view, or one that holds all")


def _first(video: VideoFile, start: int, stop: int | None, count: int, size: tuple[int, int]) -> Tensor:
    stop = len(video) if stop is None else stop
    if stop - start < count:
        raise DataError(f"{stop - start} frames of a control video", file=video.path, wanted=f"{count} of each view")
    return fit_frames(np.stack([video(number) for number in range(start, start + count)]), size, "cover")


def _views_in_one(file: Path, views: int) -> list[tuple[VideoFile, int, int | None]]:
    video = VideoFile(file)
    if len(video) % views or not len(video):
        raise DataError(f"{len(video)} frames", file=file, wanted=f"{views} views of equal length, one after the other")
    each = len(video) // views
    return [(video, view * each, (view + 1) * each) for view in range(views)]


def _last(video: VideoFile, start: int, stop: int | None, count: int, size: tuple[int, int]) -> Tensor:
    stop = len(video) if stop is None else stop
    if stop - start < count:
        raise DataError(f"{stop - start} frames of a view", file=video.path, wanted=f"{count} conditioning frames")
    return fit_frames(np.stack([video(number) for number in range(stop - count, stop)]), size, "cover")


def text_slots(prompt: str, data: MultiviewDataConfig, embed: EmbedTexts | None) -> tuple[Tensor | None, list[str]]:
    """Return the text (V L, D) of a prompt, in the slots that training used, and the text of each slot.

    Args:
        prompt: a text, a ``.txt`` file with a line for each view, or an embedding (``.pt``, ``.safetensors``, ``.npy``,
            pickles) of one text, or of all slots together; empty for none.
        data: options of the run: ``captions`` and ``text_shape``.
        embed: text encoder; needed for texts.

    Raises:
        DataError: a file cannot be read, or holds an embedding of another width.
        UserError: a text without an encoder, or another number of lines than views.
    """
    if not prompt or not data.text_shape:
        return None, []
    views, (rows, width) = data.views, data.text_shape
    path = Path(prompt)
    if path.suffix in (*SUFFIXES, ".pt"):
        return _slots_of_file(path, data), [path.name]
    names = [f"view_{number}" for number in data.view_ids]
    lines = read_prompts(path, names) if path.suffix == ".txt" else [prompt] * views
    front = front_slot(data)
    if data.captions == "every":
        sentences = prefix_sentences(dict(zip(names, data.view_ids, strict=True)))
        texts = [join_prefix(sentences[name], line) for name, line in zip(names, lines, strict=True)]
    else:
        texts = [line if slot == front else "" for slot, line in enumerate(lines)]
    if embed is None:
        raise UserError("a prompt needs a text encoder (--text_encoder), or give the file of an embedding")
    found = dict(zip([text for text in texts if text], embed([text for text in texts if text]), strict=True))
    slots = torch.zeros(views, rows, width)
    for slot, text in enumerate(texts):
        if text:
            _fill(slots[slot], found[text], "--text_encoder")
    return slots.flatten(0, 1), texts


def front_slot(data: MultiviewDataConfig) -> int:
    """Return the slot of the front view, or the first one where there is none."""
    return data.view_ids.index(FRONT) if FRONT in data.view_ids else 0


def _slots_of_file(path: Path, data: MultiviewDataConfig) -> Tensor:
    """Return slots: those of a file that holds all of them, else its rows in the front view's."""
    views, (rows, width) = data.views, data.text_shape
    found = _read_rows(path)
    slots = torch.zeros(views, rows, width)
    if len(found) == views * rows and views > 1:
        _fill(slots.view(views * rows, width), found, path)
    else:
        _fill(slots[front_slot(data)], found, path)
    return slots.flatten(0, 1)


def _read_rows(path: Path) -> Tensor:
    """Return an embedding (rows, width)."""
    if path.suffix != ".pt":
        return torch.from_numpy(read_embedding(path).astype(np.float32))
    from cosmos_lidar.files import read_tensors

    wanted = "a tensor (rows, width) or (1, rows, width)"
    found = read_tensors(path, wanted)
    if not isinstance(found, Tensor) or found.ndim not in (2, 3) or (found.ndim == 3 and len(found) != 1):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise DataError(f"{shape}", file=path, wanted=wanted)
    return found.reshape(found.shape[-2:]).float()


def _fill(slot: Tensor, rows: Tensor, where: Path | str) -> None:
    if rows.shape[1] != slot.shape[1]:
        raise DataError(f"a text embedding of width {rows.shape[1]}", key=str(where), wanted=f"width {slot.shape[1]}")
    kept = rows[: len(slot)]
    slot[: len(kept)] = kept
