"""Task encoder for video tokenizers: random clips, cut in time and space out of videos in shards.

Tars hold ``KEY.mp4`` parts, prepared by `cosmos-lidar prepare` or by a plain `energon prepare` with ImageSample and the
field ``image: mp4``, as the published guide has it. A clip is a window in time and space of a video; only its frames
are decoded, from the key frame before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from megatron.energon import (
    DefaultTaskEncoder,
    ImageSample,
    Sample,
    basic_sample_keys,
    edataclass,
    stateless,
)

from cosmos_lidar.clips.video import VideoFile
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.shards.energon_yaml import IMAGES
from cosmos_lidar.shards.sources import DataPath, resolve
from cosmos_lidar.shards.videos import SAMPLE_TYPE
from energon_tasks.batches import DeviceBatch
from energon_tasks.cookers import TypedCooker
from energon_tasks.loader import CheckedLoader
from energon_tasks.seeds import sample_seed
from energon_tasks.skips import SkipReport
from energon_tasks.splits import open_split

PARTS = ("mp4", "mov", "mkv", "avi", "webm", "m4v")


@edataclass
class VideoSample(Sample):
    """A video as it lies in the shard, still encoded."""

    content: bytes


@edataclass
class VideoClip(Sample):
    """One clip, (3, T, H, W) uint8 RGB, and the number of its first frame in the video."""

    frames: torch.Tensor
    clip_id: str
    start: int


@edataclass
class VideoBatch(DeviceBatch):
    """A batch of clips.

    Attributes:
        frames: (B, 3, T, H, W) uint8 RGB: a quarter of the bytes of float32 to copy to the device.
        clip_ids: key of each video.
        starts: number of the first frame of each clip in its video.
    """

    frames: torch.Tensor
    clip_ids: list[str]
    starts: list[int]


@dataclass(frozen=True)
class Window:
    """What is cut out of each video.

    Attributes:
        frames: of a clip.
        size: height and width of the crop.
        resize: the short side is scaled to this first; 0 keeps it, but for videos smaller than the crop.
        stride: every n-th frame is taken.
        fps: rate at which frames are taken, whatever that of the video; 0 goes by ``stride``.
    """

    frames: int
    size: int
    resize: int = 0
    stride: int = 1
    fps: float = 0.0

    def __post_init__(self) -> None:
        """Refuse windows that cannot be."""
        if min(self.frames, self.size, self.stride) < 1 or self.resize < 0 or self.fps < 0:
            raise UserError(f"{self}: frames, size and stride must be at least 1, resize and fps not negative")
        if self.resize and self.resize < self.size:
            raise UserError(f"resize {self.resize}: at least the size of the crop, {self.size}")


class VideoTaskEncoder(DefaultTaskEncoder[VideoSample, VideoClip, VideoBatch, VideoBatch]):
    """Cuts a clip out of each video: anywhere in time and space in training, else from the middle.

    Args:
        window: what to cut.
        fresh: another place each time a video is read (training).
        seed: of the places.
        report: counts samples read and skipped.
    """

    decoder = None  # the default one decodes whole videos, and executes pickles

    def __init__(self, window: Window, fresh: bool, seed: int, report: SkipReport) -> None:
        super().__init__()
        self.window, self.fresh, self.seed, self.report = window, fresh, seed, report
        self.cookers = [TypedCooker(self.cook, SAMPLE_TYPE)]

    @stateless
    def cook(self, crude: dict) -> VideoSample:
        """Take the video out of what Energon read; nothing is decoded before the shuffle buffer."""
        part = next((part for part in PARTS if part in crude), None)
        if part is None:
            self.report.count_seen()
            raise DataError("part missing", key=PARTS[0], wanted=f"a video ({', '.join(PARTS)})")
        return VideoSample(**basic_sample_keys(crude), content=crude[part])

    @stateless
    def encode_sample(self, sample: VideoSample | ImageSample) -> VideoClip:
        """Decode one clip of a video."""
        self.report.count_seen()
        content = sample.image if isinstance(sample, ImageSample) else sample.content
        if not isinstance(content, bytes):
            wanted = "the bytes of a video: `energon prepare` with the field image: mp4"
            raise DataError(f"a {type(content).__name__}", key=sample.__key__, wanted=wanted)
        rng = self._random(sample)
        video = VideoFile(Path(f"{sample.__key__}.mp4"), content=content)
        chosen = choose_frames(video.times_s(), self.window, rng, sample.__key__)
        images = np.stack([video(int(index)) for index in chosen])
        frames = crop(torch.from_numpy(images).permute(3, 0, 1, 2), self.window, rng)
        return VideoClip.derive_from(sample, frames=frames, clip_id=sample.__key__, start=int(chosen[0]))

    @stateless
    def batch(self, samples: list[VideoClip]) -> VideoBatch:
        """Stack clips."""
        return VideoBatch.from_samples(
            samples,
            frames=torch.stack([sample.frames for sample in samples]),
            clip_ids=[sample.clip_id for sample in samples],
            starts=[sample.start for sample in samples],
        )

    def _random(self, sample: Sample) -> np.random.Generator | None:
        """Return the generator of a clip's place, seeded by its place in the stream of samples; None in validation."""
        return np.random.default_rng(sample_seed(sample, self.seed, fresh=True)) if self.fresh else None


def choose_frames(times_s: np.ndarray, window: Window, rng: np.random.Generator | None, key: str) -> np.ndarray:
    """Return the numbers (T,) of the frames of a clip: from a random start, or around the middle without ``rng``.

    Args:
        times_s: (M,) when each frame is shown.
        window: what to cut.
        rng: source of the start.
        key: of the video, for messages.

    Raises:
        DataError: the video is too short.
    """
    total = len(times_s)
    if window.fps:
        steps_s = np.arange(window.frames) / window.fps
        # a clip may end where the last frame is still shown, for as long as frames are shown on average
        shown_s = (times_s[-1] - times_s[0]) / max(total - 1, 1) if total else 0.0
        starts = np.flatnonzero(times_s + steps_s[-1] <= times_s[-1:] + 0.5 * shown_s)
    else:
        starts = np.arange(total - (window.frames - 1) * window.stride)
    if not len(starts):
        pace = f"at {window.fps:g} frames/s" if window.fps else f"in steps of {window.stride}"
        raise DataError(f"{total} frames", key=key, wanted=f"a video that {window.frames} frames {pace} fit into")
    start = int(starts[int(rng.integers(len(starts))) if rng is not None else (len(starts) - 1) // 2])
    if not window.fps:
        return start + window.stride * np.arange(window.frames)
    wanted = times_s[start] + steps_s
    after = np.searchsorted(times_s, wanted).clip(1, total - 1)
    return after - (wanted - times_s[after - 1] < times_s[after] - wanted) if total > 1 else np.zeros(1, int)


def crop(frames: torch.Tensor, window: Window, rng: np.random.Generator | None) -> torch.Tensor:
    """Return (3, T, size, size) uint8 of (3, T, H, W): the same place in all frames, random or in the middle.

    Frames are scaled (bicubic, antialiased) so that the short side is ``resize``, or ``size`` where it is shorter.
    Only the part that is kept is scaled.
    """
    height, width = frames.shape[-2:]
    short = window.resize or max(min(height, width), window.size)
    side = min(height, width) * window.size / short  # of the crop, in pixels of the video
    rows, columns = ((height - side), (width - side))
    top, left = (rng.random(2) if rng is not None else np.array([0.5, 0.5])) * (rows, columns)
    step = round(side)
    top, left = min(round(top), height - step), min(round(left), width - step)
    cut = frames[..., top : top + step, left : left + step]
    if step == window.size:
        return cut.contiguous()
    size = (window.size, window.size)
    scaled = F.interpolate(cut.transpose(0, 1).float(), size=size, mode="bicubic", antialias=True)
    return scaled.round().clamp(0, 255).to(torch.uint8).transpose(0, 1).contiguous()


def video_loader(
    path: DataPath,
    split: str,
    *,
    training: bool,
    window: Window,
    seed: int = 0,
    shuffle_buffer: int = 64,
    bad_sample_budget: float = 0.01,
    trust_sample_loaders: bool = False,
    **options: Any,
) -> CheckedLoader:
    """Open a split of videos as an Energon loader of :class:`VideoBatch`, whose state can be saved.

    Args:
        path: folder of shards, several, or a metadataset YAML; see :mod:`cosmos_lidar.shards.sources`.
        split: such as ``train``.
        training: shuffled and endless; otherwise in order, once, the same each time.
        window: what is cut out of each video.
        seed: of order and places.
        shuffle_buffer: encoded videos to draw from in training.
        bad_sample_budget: share of videos that may be unusable, or too short, before the run stops.
        trust_sample_loaders: run the Python functions that a ``dataset.yaml`` names.
        **options: of :func:`~energon_tasks.splits.open_split`.

    Raises:
        DataError: not an indexed folder of shards, or the split is empty.
        UserError: fewer videos than readers.
    """
    sources = resolve(path, split, trust_sample_loaders).expect(SAMPLE_TYPE, typed=[IMAGES])

    def make_encoder(report: SkipReport) -> VideoTaskEncoder:
        return VideoTaskEncoder(window, training, seed, report)

    options |= {"shuffle_buffer": shuffle_buffer, "bad_sample_budget": bad_sample_budget}
    return open_split(sources, SAMPLE_TYPE, make_encoder, training=training, seed=seed, **options)
