"""Lidar shards as batches of range-map pictures for a tokenizer.

A sample is a run of consecutive frames of one clip. Frames are chosen from it, decoded, cropped, and made into
pictures as the sensor file says: neighbouring columns merged (nearest return wins), ranges clipped and normalised to
[-1, 1], rows repeated, three equal channels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from megatron.energon import (
    Cooker,
    DefaultTaskEncoder,
    Sample,
    SkipSample,
    WorkerConfig,
    basic_sample_keys,
    edataclass,
    get_train_dataset,
    get_val_dataset,
    stateless,
)

from cosmos_lidar.clips.range_codec import decode_ranges
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.sensors.range_picture import pair_columns, prepare_range_map
from cosmos_lidar.sensors.sensor import RangeMapFormat, load_sensor
from cosmos_lidar.shards.manifest import ENERGON, MANIFEST, Manifest, read_manifest
from cosmos_lidar.shards.sweeps import META, RANGES, SampleMeta, read_meta
from energon_tasks.batches import DeviceBatch
from energon_tasks.skips import CheckedLoader, SkipReport

FRAME_MODES = ("random", "sequential", "sequential_from_zero", "all")
CROPS = ("random", "centre", "none")


@edataclass
class LidarRun(Sample):
    """A sample as it lies in the shard: ``ranges`` still encoded, ``meta`` its description."""

    ranges: bytes
    meta: SampleMeta


@edataclass
class LidarPicture(Sample):
    """One picture, (3, H, W), or one sequence of pictures, (3, T, H, W), in [-1, 1].

    ``valid``, (1, H, W) or (1, T, H, W) bool, is true where the sensor had a return between the format's range limits.
    """

    images: torch.Tensor
    valid: torch.Tensor
    clip_id: str
    frame_id: str


@edataclass
class LidarBatch(DeviceBatch):
    """A batch of pictures.

    Attributes:
        images: (B, 3, H, W) float32 in [-1, 1]; (B, 3, T, H, W) in temporal mode.
        valid: (B, 1, H, W) bool, true where the sensor had a return between the format's range limits.
        clip_ids: clip of each picture.
        frame_ids: frame of each picture; of the first frame of each sequence in temporal mode.
    """

    images: torch.Tensor
    valid: torch.Tensor
    clip_ids: list[str]
    frame_ids: list[str]


class LidarTaskEncoder(DefaultTaskEncoder[LidarRun, LidarPicture, LidarBatch, LidarBatch]):
    """Chooses frames of each run and makes pictures of them.

    Args:
        format: how range maps become pictures (``sensor.format``).
        frame_mode: ``random`` (independently, with replacement), ``sequential`` (from a random start),
            ``sequential_from_zero``, or ``all`` frames of the run.
        frames_per_clip: frames taken from a run each time it is met; ignored by ``all``.
        frame_step: distance of neighbouring frames in the sequential modes.
        crop: ``random``, ``centre`` or ``none``.
        crop_width: width of the crop in merged columns.
        temporal: make one sequence (3, T, H, W) of the chosen frames instead of one picture each.
        flip: mirror left and right, at random, half of the pictures.
        seed: of every random choice.
        fresh: choices differ each time a run is met (training); otherwise a run always gives the same.
        report: counts what is met and left out.
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
        if frame_mode not in FRAME_MODES or crop not in CROPS:
            raise UserError(f"frame_mode {frame_mode!r}, crop {crop!r}: wanted one of {FRAME_MODES} and of {CROPS}")
        if frames_per_clip < 1 or frame_step < 1 or (crop != "none" and crop_width < 1):
            raise UserError("frames_per_clip, frame_step and, where crop is not 'none', crop_width must be at least 1")
        self.format = format
        self.frame_mode, self.frames_per_clip, self.frame_step = frame_mode, frames_per_clip, frame_step
        self.crop, self.crop_width, self.temporal, self.flip = crop, crop_width, temporal, flip
        self.seed, self.fresh = seed, fresh
        self.report = report or SkipReport()
        self.cookers = [Cooker(self.cook_run, has_subflavors={"sample_type": "lidar"})]

    @property
    def shortest_run(self) -> int:
        """Frames a run must have for the wanted sequence; shorter runs are left out, and counted."""
        sequential = self.frame_mode in ("sequential", "sequential_from_zero")
        return (self.frames_per_clip - 1) * self.frame_step + 1 if sequential else 1

    @stateless
    def cook_run(self, crude: dict) -> LidarRun:
        """Take the parts of a sample out of what Energon read; nothing is decoded before the shuffle buffer."""
        self.report.count_seen()
        for part in (META, RANGES):
            if part not in crude:
                raise DataError("part missing", key=part, wanted="shards made by `cosmos-lidar prepare`")
        return LidarRun(**basic_sample_keys(crude), ranges=crude[RANGES], meta=read_meta(crude[META]))

    @stateless
    def encode_sample(self, run: LidarRun) -> Iterator[LidarPicture]:
        """Yield the pictures of the chosen frames of ``run``."""
        if len(run.meta.frame_ids) < self.shortest_run:
            self.report.count_short()
            raise SkipSample
        rng = self._random(run)
        chosen = choose_frames(self.frame_mode, len(run.meta.frame_ids), self.frames_per_clip, self.frame_step, rng)
        maps = decode_ranges(run.ranges, chosen)
        if self.temporal:
            yield self._picture(run, self._place(maps, rng), chosen[0])
            return
        for range_m, frame in zip(maps, chosen, strict=True):
            yield self._picture(run, self._place(range_m, rng), frame)

    @stateless
    def batch(self, samples: list[LidarPicture]) -> LidarBatch:
        """Stack pictures."""
        return LidarBatch(
            __key__=[sample.__key__ for sample in samples],
            __restore_key__=tuple(sample.__restore_key__ for sample in samples),
            __subflavors__=[sample.__subflavors__ for sample in samples],
            __sources__=tuple(source for sample in samples for source in sample.__sources__ or ()),
            images=torch.stack([sample.images for sample in samples]),
            valid=torch.stack([sample.valid for sample in samples]),
            clip_ids=[sample.clip_id for sample in samples],
            frame_ids=[sample.frame_id for sample in samples],
        )

    def _random(self, run: LidarRun) -> np.random.Generator:
        """Return the generator of a run's choices.

        Seeded by the place of the run in the stream of samples (part of the restore key), not by Energon's sample
        index: that one is off by one after a restart in the middle of a run, and ``stateless(restore_seeds=True)``
        keeps the seed of the first worker that called it.
        """
        place = repr(run.__restore_key__) if self.fresh else ""
        digest = hashlib.sha256(f"{self.seed}:{run.__key__}:{place}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:16], "little"))

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

    def _picture(self, run: LidarRun, range_m: np.ndarray, frame: int) -> LidarPicture:
        merged, _ = pair_columns(range_m, self.format.pair_columns)
        inside = (merged > self.format.min_range_m) & (merged < self.format.max_range_m)
        images = torch.from_numpy(prepare_range_map(merged, replace(self.format, pair_columns=1)))
        valid = torch.from_numpy(np.repeat(inside, self.format.repeat_rows, axis=-2))
        return LidarPicture.derive_from(
            run,
            images=images.transpose(0, 1) if self.temporal else images,
            valid=valid[None],
            clip_id=run.meta.clip_id,
            frame_id=run.meta.frame_ids[frame],
        )


def choose_frames(mode: str, total: int, count: int, step: int, rng: np.random.Generator) -> list[int]:
    """Return frame numbers of a run of ``total`` frames; ``mode`` and the others as :class:`LidarTaskEncoder` takes."""
    if mode == "all":
        return list(range(total))
    if mode == "random":
        return rng.integers(total, size=count).tolist()
    last_start = total - ((count - 1) * step + 1)
    start = int(rng.integers(last_start + 1)) if mode == "sequential" else 0
    return list(range(start, start + (count - 1) * step + 1, step))


def lidar_loader(
    path: str | Path,
    split: str = "train",
    *,
    batch_size: int,
    training: bool | None = None,
    frame_mode: str | None = None,
    frames_per_clip: int = 1,
    frame_step: int = 1,
    crop: str | None = None,
    crop_width: int = 0,
    temporal: bool = False,
    flip: bool = False,
    format: RangeMapFormat | None = None,
    num_workers: int = 0,
    rank: int | None = None,
    world_size: int | None = None,
    seed: int = 0,
    shuffle_buffer: int = 16,
    repeat: bool = True,
    limit: int | None = None,
    bad_sample_budget: float = 0.001,
) -> CheckedLoader:
    """Open a split of a folder of shards as an Energon loader of :class:`LidarBatch`, whose state can be saved.

    Args:
        path: folder made by `cosmos-lidar prepare`.
        split: ``train``, ``val`` or ``test``.
        batch_size: pictures (or sequences) in a batch.
        training: shuffled and endless; otherwise in order, once, the same each time. Default: for ``train``.
        frame_mode: as the encoder takes; default in training ``random`` (``sequential`` if temporal), else ``all``.
        frames_per_clip: frames taken from each run of a clip that is met; 1 mixes clips best, more reads less.
        frame_step: distance of neighbouring frames in the sequential modes.
        crop: as the encoder takes; default where ``crop_width`` is given ``random`` in training, ``centre`` else.
        crop_width: in merged columns; 0 for the whole map.
        temporal: batches (B, 3, T, H, W).
        flip: mirror half of the training pictures.
        format: how to make pictures, instead of as the sensor file says.
        num_workers: processes that read ahead; 0 to read in this one.
        rank: of this process among those that share the data; default from torch.distributed.
        world_size: number of those processes; default from torch.distributed.
        seed: of order, frames and crops.
        shuffle_buffer: encoded runs to draw from in training.
        repeat: in training: endless; False for one pass, then only shards and slices of them are shuffled.
        limit: otherwise: at most that many batches.
        bad_sample_budget: share of samples that may be unusable before the run stops; see ``loader.skip_report``.

    Raises:
        DataError: not a finished folder of shards, shards missing or cut, or the split is empty.
        UserError: options that do not fit the data.
    """
    folder, manifest = Path(path), read_manifest(path)
    samples = _count_samples(folder, manifest, split)
    training = split == "train" if training is None else training
    workers = _worker_config(num_workers, rank, world_size)
    workers.seed_offset = seed
    encoder = LidarTaskEncoder(
        format or _common_format(folder, manifest),
        frame_mode=frame_mode or ("all" if not training else "sequential" if temporal else "random"),
        frames_per_clip=frames_per_clip,
        frame_step=frame_step,
        crop=crop or ("none" if not crop_width else "random" if training else "centre"),
        crop_width=crop_width,
        temporal=temporal,
        flip=flip and training,
        seed=seed,
        fresh=training,
        report=SkipReport(bad_sample_budget, expected=samples / workers.world_size),
    )
    workers.global_error_handler = encoder.report.handle
    _refuse_endless_wait(folder, manifest, encoder, samples, workers, training)
    common = {"split_part": split, "worker_config": workers, "batch_size": batch_size, "task_encoder": encoder}
    if training:
        # Energon cannot resume a shuffle buffer whose source has ended, and with it a single pass.
        shuffling = {"shuffle_buffer_size": shuffle_buffer if repeat else None, "max_samples_per_sequence": 8}
        dataset = get_train_dataset(str(folder), repeat=repeat, **shuffling, **common)
    else:
        dataset = get_val_dataset(str(folder), limit=limit, **common)
    return CheckedLoader(dataset, encoder.report, folder)


def _count_samples(folder: Path, manifest: Manifest, split: str) -> int:
    """Return the samples of a split, after looking that its shards are there in full length."""
    shards = manifest.of_split(split)
    if not shards:
        found = ", ".join(manifest.splits) or "none"
        raise DataError(f"split {split!r} is empty", file=folder, wanted=f"one of those prepared: {found}")
    for shard in shards:
        path = folder / shard.name
        size = path.stat().st_size if path.is_file() else 0
        if size != shard.bytes:
            wanted = f"{shard.bytes} bytes, as {MANIFEST} says: copy the folder again"
            raise DataError(f"{size} bytes" if size else "shard missing", file=path, wanted=wanted)
    if not (folder / ENERGON / "split.yaml").is_file():
        wanted = "run `cosmos-lidar prepare` again, or `energon prepare --split-parts 'train:train-.*' …`"
        raise DataError("the shards are not indexed", file=folder / ENERGON, wanted=wanted)
    return sum(shard.samples for shard in shards)


def _worker_config(num_workers: int, rank: int | None, world_size: int | None) -> WorkerConfig:
    if rank is None and world_size is None:
        return WorkerConfig.default_worker_config(num_workers)
    rank, world_size = rank or 0, world_size or 1
    if not 0 <= rank < world_size:
        raise UserError(f"rank {rank} of world_size {world_size}: the rank must be below the world size")
    return WorkerConfig(rank=rank, world_size=world_size, num_workers=num_workers)


def _common_format(folder: Path, manifest: Manifest) -> RangeMapFormat:
    """Return the picture format of the sensors in the folder; one batch holds pictures of one shape."""
    sensors = [load_sensor(folder / file) for file in manifest.sensors]
    forms = {(sensor.shape, sensor.format) for sensor in sensors}
    if len(forms) > 1:
        shapes = ", ".join(f"{sensor.name} {sensor.shape}" for sensor in sensors)
        raise UserError(
            f"{folder} holds sensors whose pictures differ ({shapes}): prepare them into one folder each, "
            "or with one --sensor"
        )
    return sensors[0].format


def _refuse_endless_wait(
    folder: Path, manifest: Manifest, encoder: LidarTaskEncoder, samples: int, workers: WorkerConfig, training: bool
) -> None:
    """Complain where Energon would wait for a sample that never comes."""
    if encoder.shortest_run > manifest.frames_per_sample:
        raise UserError(
            f"{encoder.frames_per_clip} frames with step {encoder.frame_step} need runs of {encoder.shortest_run} "
            f"frames, and those in {folder} have at most {manifest.frames_per_sample}: prepare with --frames-per-sample"
        )
    readers = workers.world_size * max(workers.num_workers, 1)
    if training and samples < readers:
        raise UserError(
            f"{samples} samples in {folder} cannot be shared by {readers} readers ({workers.world_size} processes of "
            f"{workers.num_workers} workers): use fewer workers, or prepare with smaller --frames-per-sample"
        )
