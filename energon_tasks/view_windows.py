"""Windows of frames of several cameras: what is taken of a sample, and the frames, times, poses and lenses of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
import torch
from torch import Tensor

from cosmos_lidar.arrays import read_npy
from cosmos_lidar.clips.fit_images import Fit, Lens, fit_frames, fit_lens
from cosmos_lidar.clips.rig import lens_of_entry
from cosmos_lidar.clips.video import VideoFile
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.files import file_sha256
from cosmos_lidar.shards.multiview import META, POSES, RANGES, VIDEO, Frames, MultiviewMeta, control_part, open_frames

if TYPE_CHECKING:
    from energon_tasks.multiview import MultiviewSample

_CONTENT_VERSION = 1  # of what `content` identifies: increment when the same files give other pixels


@dataclass(frozen=True)
class ViewWindow:
    """What is taken of each sample.

    Attributes:
        frames: of each view; published: 29, which a causal tokenizer of 4 frames a latent makes 8 latents of.
        size: (height, width) of the images; published: (704, 1280) at 720p, (480, 848) at 480p.
        views: cameras by name or view id, in the order of the sample; empty: all, in the order of the shards.
            Published for Waymo: (4, 5, 0, 1, 2).
        stride: every n-th frame is taken; the frame rate of the batch falls with it.
        start_step: windows begin at multiples of this: fewer windows, so fewer latents in a cache.
        fit: ``stretch`` scales to ``size`` whatever the aspect, as published; ``cover`` keeps it and cuts the middle.
        controls: kinds of control videos that are taken beside those of the cameras.
        sweeps: (rows, columns) of the range images of a lidar, which are taken too; empty for none.
    """

    frames: int = 29
    size: tuple[int, int] = (704, 1280)
    views: tuple[str | int, ...] = ()
    stride: int = 1
    start_step: int = 1
    fit: Fit = "stretch"
    controls: tuple[str, ...] = ()
    sweeps: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse windows that cannot be."""
        if min(self.frames, self.stride, self.start_step, *self.size) < 1:
            raise UserError(f"{self}: frames, size, stride and start_step must be at least 1")
        if len(set(self.views)) != len(self.views):
            raise UserError(f"views {self.views}: each once")
        if self.fit not in get_args(Fit):
            raise UserError(f"fit {self.fit!r}: valid: {', '.join(get_args(Fit))}")

    @property
    def span(self) -> int:
        """Frames of a sample that one window reaches over."""
        return (self.frames - 1) * self.stride + 1


class CameraFrames:
    """The chosen frames of one camera of a sample; of the video in another part where ``part`` names it."""

    def __init__(
        self, sample: MultiviewSample, place: int, chosen: np.ndarray, window: ViewWindow, part: str = ""
    ) -> None:
        self.meta, self.chosen, self.window = sample.meta, chosen, window
        self.name = part.removesuffix(VIDEO) if part else sample.meta.cameras[place]
        self.parts = {part: data for part, data in sample.parts.items() if part.startswith(f"{self.name}.")}
        self.file: Path | None = None
        if sample.meta.files and not part:
            if sample.root is None:
                raise DataError("it names files, and its folder no root", clip=self.meta.clip_id, key=META,
                                wanted="multiview.json beside the shards")  # fmt: skip
            self.file = sample.root / sample.meta.files[place].video
        self.reader: VideoFile | Frames = (
            open_frames(self.parts, self.meta, self.name)
            if self.file is None
            else VideoFile(self.file, self.meta.clip_id)
        )

    def check_length(self) -> None:
        """Raise DataError where the camera has another number of frames than the sample."""
        if len(self.reader) != self.meta.frames:
            where = self.file or f"{self.name}.mp4"
            wanted = f"{self.meta.frames}, as the other cameras"
            raise DataError(f"{len(self.reader)} frames", file=self.file, clip=self.meta.clip_id, key=str(where),
                            wanted=wanted)  # fmt: skip

    def content(self) -> str:
        """Return a SHA-256 of everything that the pixels depend on."""
        encoded = _digest_of(self.parts, self.name) if self.file is None else _digest_of_file(self.file)
        window = self.window
        what = f"{_CONTENT_VERSION} {encoded} {self.chosen.tolist()} {window.size} {window.fit}"
        return hashlib.sha256(what.encode()).hexdigest()

    def decode(self) -> Tensor:
        """Return (3, T, H, W) uint8."""
        return fit_frames(
            np.stack([self.reader(int(number)) for number in self.chosen]), self.window.size, self.window.fit
        )


def open_streams(
    sample: MultiviewSample, places: Sequence[int], chosen: np.ndarray, window: ViewWindow
) -> tuple[list[CameraFrames], list[CameraFrames]]:
    """Return the videos of the views, then their control videos by kind; and that of range images, if any.

    Raises:
        DataError: a part is missing, or has another number of frames than the sample.
    """
    names = [sample.meta.cameras[place] for place in places]
    parts = ["" for _ in places] + [control_part(kind, name) for kind in window.controls for name in names]
    repeated = list(places) * (1 + len(window.controls))
    views = [CameraFrames(sample, place, chosen, window, part) for place, part in zip(repeated, parts, strict=True)]
    sweeps: list[CameraFrames] = []
    if window.sweeps:
        size = window.sweeps[0], window.sweeps[1]
        sweeps = [CameraFrames(sample, 0, chosen, replace(window, size=size, fit="stretch"), RANGES)]
    for stream in (*views, *sweeps):
        stream.check_length()
    return views, sweeps


def _digest_of(parts: dict[str, bytes], name: str) -> str:
    digest = hashlib.sha256()
    for part in sorted(part for part in parts if part.endswith((".mp4", ".jpg"))):
        digest.update(part.removeprefix(name).encode() + hashlib.sha256(parts[part]).digest())
    return digest.hexdigest()


def _digest_of_file(path: Path) -> str:
    try:
        state = path.stat()
    except OSError as error:
        raise DataError(
            f"cannot be read: {error.strerror}", file=path, wanted="the video that the index names"
        ) from error
    return _digest_of_state(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _digest_of_state(path: Path, size: int, mtime_ns: int) -> str:
    return hashlib.sha256(b".mp4" + bytes.fromhex(file_sha256(path))).hexdigest()


def fitted_lens(meta: MultiviewMeta, place: int, window: ViewWindow) -> Lens | None:
    """Return the lens of a camera for images of the window's size, or None where it is not known."""
    entry = meta.lenses[place] if meta.lenses else None
    if entry is None:
        return None
    return fit_lens(lens_of_entry(entry, meta.cameras[place], Path(META)), window.size, window.fit)


def window_times_s(meta: MultiviewMeta, places: Sequence[int], chosen: np.ndarray) -> Tensor:
    """Return (V, T) float64; by the frame rate where no times were recorded."""
    if not meta.times_us:
        step_s = 1.0 / meta.fps if meta.fps else 0.0
        return torch.from_numpy((chosen - chosen[0]) * step_s).expand(len(places), -1).clone()
    times = np.array([meta.times_us[place] for place in places], np.int64)[:, chosen]
    first = meta.clock_us[chosen[0]] if meta.clock_us else int(times[:, 0].min())
    return torch.from_numpy((times - first) / 1e6)


def window_poses(parts: dict[str, bytes], places: Sequence[int], chosen: np.ndarray) -> Tensor | None:
    """Return (V, T, 4, 4) float64, camera axes to world, or None where the sample has no poses.

    Raises:
        DataError: another shape or type, or fewer views or frames than are taken.
    """
    if POSES not in parts:
        return None
    poses = read_npy(parts[POSES])
    if poses.ndim != 4 or poses.shape[2:] != (4, 4) or poses.dtype.kind != "f":
        raise DataError(f"{poses.dtype} of shape {poses.shape}", key=POSES, wanted="(views, frames, 4, 4) floats")
    if poses.shape[0] <= max(places) or poses.shape[1] <= chosen[-1]:
        raise DataError(f"shape {poses.shape}", key=POSES, wanted="a pose of every view and frame")
    return torch.from_numpy(poses[list(places)][:, chosen].astype(np.float64))


def camera_mounts(meta: MultiviewMeta, places: Sequence[int]) -> Tensor | None:
    """Return (V, 4, 4) float64, camera axes to vehicle axes, or None where one is not known."""
    mounts = [meta.mounts[place] if meta.mounts else None for place in places]
    if any(mount is None for mount in mounts):
        return None
    return torch.tensor(mounts, dtype=torch.float64)
