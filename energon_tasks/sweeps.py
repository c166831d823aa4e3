"""Task encoder for lidar tokenizers: range images of sweeps in shards.

A sample holds consecutive frames of one clip. Frames are drawn from it, decoded, cropped, and converted to images as
in the sensor file: neighboring columns merged (nearest return wins), ranges clipped and normalized to [-1, 1], rows
repeated, three equal channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from megatron.energon import (
    DefaultTaskEncoder,
    Sample,
    SkipSample,
    basic_sample_keys,
    edataclass,
    stateless,
)

from cosmos_lidar.clips.range_codec import decode_ranges
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.sensors.range_image import pair_columns, prepare_range_map
from cosmos_lidar.sensors.sensor import RangeMapFormat
from cosmos_lidar.shards.facts import read_sweep_facts
from cosmos_lidar.shards.sources import DataPath, Sources, resolve
from cosmos_lidar.shards.sweeps import META, RANGES, SAMPLE_TYPE, SampleMeta, read_meta
from energon_tasks.batches import DeviceBatch
from energon_tasks.cookers import TypedCooker
from energon_tasks.loader import CheckedLoader
from energon_tasks.seeds import sample_seed
from energon_tasks.skips import SkipReport
from energon_tasks.splits import open_split

FRAME_MODES = ("random", "sequential", "sequential_from_zero", "all")
CROPS = ("random", "center", "none")
_FORMER_CROPS = {"centre": "center"}  # codespell:ignore centre


@edataclass
class SweepSample(Sample):
    """A sample as it lies in the shard: ``ranges`` still encoded, ``meta`` its description."""

    ranges: bytes
    meta: SampleMeta


LidarRun = SweepSample  # the former name


@edataclass
class LidarImage(Sample):
    """One range image, (3, H, W), or one sequence of them, (3, T, H, W), in [-1, 1].

    ``valid``, (1, H, W) or (1, T, H, W) bool, is true where the sensor had a return between the format's range limits.
    """

    images: torch.Tensor
    valid: torch.Tensor
    clip_id: str
    frame_id: str


LidarPicture = LidarImage  # the former name


@edataclass
class LidarBatch(DeviceBatch):
    """A batch of range images.

    Attributes:
        images: (B, 3, H, W) float32 in [-1, 1]; (B, 3, T, H, W) in temporal mode.
        valid: (B, 1, H, W) bool, true where the sensor had a return between the format's range limits.
        clip_ids: clip of each image.
        frame_ids: frame of each image; of the first frame of each sequence in temporal mode.
    """

    images: torch.Tensor
    valid: torch.Tensor
    clip_ids: list[str]
    frame_ids: list[str]


class LidarTaskEncoder(DefaultTaskEncoder[SweepSample, LidarImage, LidarBatch, LidarBatch]):
    """Draws frames of each sample and converts them to range images.

    Args:
        format: how range maps become images (``sensor.format``).
        frame_mode: ``random`` (independently, with replacement), ``sequential`` (from a random start),
            ``sequential_from_zero``, or ``all`` frames of the sample.
        frames_per_clip: frames taken from a sample each time it is read; ignored by ``all``.
        frame_step: distance of neighboring frames in the sequential modes.
        crop: ``random``, ``center`` or ``none``.
        crop_width: width of the crop in merged columns.
        temporal: make one sequence (3, T, H, W) of the chosen frames instead of one image each.
        flip: mirror left and right, at random, half of the images.
        seed: of every random choice.
        fresh: choices differ each time a sample is read (training); otherwise they depend on its key alone.
        report: counts samples read and skipped.
    """

    decoder = None  # the default one executes pickles and guesses by file ending

    def __init__(
        self,
        format: RangeMapFormat,
        *,
        frame_mode: str = "random",
        frames_per_clip: int = 1,
        frame_step: int = 1,
        crop: str = "none",
        crop_width: int = 0,
        temporal: bool = False,
        flip: bool = False,
        seed: int = 0,
        fresh: bool = True,
        report: SkipReport | None = None,
    ) -> None:
        super().__init__()
        crop = _FORMER_CROPS.get(crop, crop)
        if frame_mode not in FRAME_MODES or crop not in CROPS:
            valid = f"valid: {', '.join(FRAME_MODES)}; {', '.join(CROPS)}"
            raise UserError(f"frame_mode {frame_mode!r}, crop {crop!r}: {valid}")
        if frames_per_clip < 1 or frame_step < 1 or (crop != "none" and crop_width < 1):
            raise UserError("frames_per_clip, frame_step and, where crop is not 'none', crop_width must be at least 1")
        self.format = format
        self.frame_mode, self.frames_per_clip, self.frame_step = frame_mode, frames_per_clip, frame_step
        self.crop, self.crop_width, self.temporal, self.flip = crop, crop_width, temporal, flip
        self.seed, self.fresh = seed, fresh
        self.report = report or SkipReport()
        self.cookers = [TypedCooker(self.cook, SAMPLE_TYPE)]

    @property
    def shortest_run(self) -> int:
        """Frames that a sample needs for one sequence; shorter samples are skipped, and counted."""
        sequential = self.frame_mode in ("sequential", "sequential_from_zero")
        return (self.frames_per_clip - 1) * self.frame_step + 1 if sequential else 1

    @stateless
    def cook(self, crude: dict) -> SweepSample:
        """Take the parts of a sample out of what Energon read; nothing is decoded before the shuffle buffer."""
        self.report.count_seen()
        for part in (META, RANGES):
            if part not in crude:
                raise DataError("part missing", key=part, wanted="shards made by `cosmos-lidar prepare`")
        return SweepSample(**basic_sample_keys(crude), ranges=crude[RANGES], meta=read_meta(crude[META]))

    @stateless
    def encode_sample(self, run: SweepSample) -> Iterator[LidarImage]:
        """Yield the range images of the chosen frames of ``run``."""
        if len(run.meta.frame_ids) < self.shortest_run:
            self.report.count_short()
            raise SkipSample
        rng = self._random(run)
        chosen = choose_frames(self.frame_mode, len(run.meta.frame_ids), self.frames_per_clip, self.frame_step, rng)
        maps = decode_ranges(run.ranges, chosen)
        if self.temporal:
            yield self._image(run, self._place(maps, rng), chosen[0])
            return
        for range_m, frame in zip(maps, chosen, strict=True):
            yield self._image(run, self._place(range_m, rng), frame)

    @stateless
    def batch(self, samples: list[LidarImage]) -> LidarBatch:
        """Stack range images."""
        return LidarBatch.from_samples(
            samples,
            images=torch.stack([sample.images for sample in samples]),
            valid=torch.stack([sample.valid for sample in samples]),
            clip_ids=[sample.clip_id for sample in samples],
            frame_ids=[sample.frame_id for sample in samples],
        )

    def _random(self, run: SweepSample) -> np.random.Generator:
        """Return the random generator of a sample's choices."""
        return np.random.default_rng(sample_seed(run, self.seed, self.fresh))

    def _place(self, range_m: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Crop and mirror (..., rows, columns)."""
        if self.crop != "none":
            pair = self.format.pair_columns
            spare = range_m.shape[-1] // pair - self.crop_width
            if spare < 0:
                raise DataError(f"{range_m.shape[-1] // pair} merged columns", wanted=f"crop_width {self.crop_width}")
            start = (int(rng.integers(spare + 1)) if self.crop == "random" else spare // 2) * pair
            range_m = range_m[..., start : start + self.crop_width * pair]
        if self.flip and rng.random() < 0.5:
            range_m = np.ascontiguousarray(range_m[..., ::-1])
        return range_m

    def _image(self, run: SweepSample, range_m: np.ndarray, frame: int) -> LidarImage:
        merged, _ = pair_columns(range_m, self.format.pair_columns)
        inside = (merged > self.format.min_range_m) & (merged < self.format.max_range_m)
        images = torch.from_numpy(prepare_range_map(merged, replace(self.format, pair_columns=1)))
        valid = torch.from_numpy(np.repeat(inside, self.format.repeat_rows, axis=-2))
        return LidarImage.derive_from(
            run,
            images=images.transpose(0, 1) if self.temporal else images,
            valid=valid[None],
            clip_id=run.meta.clip_id,
            frame_id=run.meta.frame_ids[frame],
        )


def choose_frames(mode: str, total: int, count: int, step: int, rng: np.random.Generator) -> list[int]:
    """Return frame numbers of a sample of ``total`` frames; other arguments as :class:`LidarTaskEncoder` takes."""
    if mode == "all":
        return list(range(total))
    if mode == "random":
        return rng.integers(total, size=count).tolist()
    last_start = total - ((count - 1) * step + 1)
    start = int(rng.integers(last_start + 1)) if mode == "sequential" else 0
    return list(range(start, start + (count - 1) * step + 1, step))


def lidar_loader(
    path: DataPath,
    split: str = "train",
    *,
    batch_size: int,
    training: bool | None = None,
    frame_mode: str | None = None,
    frames_per_clip: int = 1,
    crop: str | None = None,
    crop_width: int = 0,
    temporal: bool = False,
    format: RangeMapFormat | None = None,
    shuffle_runs: int | None = None,
    trust_sample_loaders: bool = False,
    **options: Any,
) -> CheckedLoader:
    """Open a split of shards of sweeps as an Energon loader of :class:`LidarBatch`, whose state can be saved.

    Args:
        path: folder of shards, several, or a metadataset YAML; see :mod:`cosmos_lidar.shards.sources`.
        split: ``train``, ``val`` or ``test``.
        batch_size: images (or sequences) in a batch.
        training: shuffled and endless; otherwise in order, once, the same each time. Default: for ``train``.
        frame_mode: as the encoder takes; default in training ``random`` (``sequential`` if temporal), else ``all``.
        frames_per_clip: frames taken from each sample that is met; 1 mixes clips best, more reads less.
        crop: as the encoder takes; default where ``crop_width`` is given ``random`` in training, else ``center``.
        crop_width: in merged columns; 0 for the whole map.
        temporal: batches (B, 3, T, H, W).
        format: how to make images, instead of as in the sensor file.
        shuffle_runs: earlier name of ``shuffle_buffer``.
        trust_sample_loaders: run the Python functions that a ``dataset.yaml`` names.
        **options: ``frame_step``, ``flip`` and ``seed`` of the encoder; the others of
            :func:`~energon_tasks.splits.open_split`. Only training images are flipped.

    Raises:
        DataError: not a folder of shards, shards missing or cut, or the split is empty.
        UserError: options that do not fit the data, or folders whose images differ.
    """
    sources = resolve(path, split, trust_sample_loaders)
    training = split == "train" if training is None else training
    facts = read_sweep_facts(sources, format, any_width=crop_width > 0)
    mode = frame_mode or ("all" if not training else "sequential" if temporal else "random")
    choices = {
        "frame_mode": mode,
        "frames_per_clip": frames_per_clip,
        "frame_step": options.pop("frame_step", 1),
        "crop": crop or ("none" if not crop_width else "random" if training else "center"),
        "crop_width": crop_width,
        "temporal": temporal,
        "flip": options.pop("flip", False) and training,
    }
    if shuffle_runs is not None:
        options["shuffle_buffer"] = shuffle_runs

    def make_encoder(report: SkipReport) -> LidarTaskEncoder:
        seed = options.get("seed", 0)
        encoder = LidarTaskEncoder(facts.format, **choices, seed=seed, fresh=training, report=report)
        _check_length(sources, encoder, facts.frames_per_sample)
        return encoder

    items = 1 if temporal else facts.frames_per_sample if mode == "all" else frames_per_clip
    common: dict[str, Any] = {"batch_size": batch_size, "training": training, "items_per_sample": items}
    return open_split(sources, SAMPLE_TYPE, make_encoder, **common, **options)


def _check_length(sources: Sources, encoder: LidarTaskEncoder, frames_per_sample: int) -> None:
    """Refuse sequences that no sample is long enough for: Energon would look for one for ever."""
    if encoder.shortest_run > frames_per_sample:
        raise UserError(
            f"{encoder.frames_per_clip} frames with step {encoder.frame_step} need runs of {encoder.shortest_run} "
            f"frames, and those in {sources.text} have at most {frames_per_sample}: prepare with --frames-per-sample"
        )
