"""The two loaders of a tokenizer run, from the options in ``data``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.lidar_tokenizer.config import COMPRESSION, DataConfig, LidarTokenizerTrainConfig
from cosmos_lidar.log import logger
from cosmos_lidar.parallel.made_once import made_once
from cosmos_lidar.parallel.spatial import check_width
from cosmos_lidar.sensors import RangeMapFormat, Sensor, uniform_sensor
from cosmos_lidar.shards.facts import SweepFacts, read_sweep_facts
from cosmos_lidar.shards.manifest import MANIFEST
from cosmos_lidar.shards.sources import resolve
from cosmos_lidar.training.engine import DataShare

_PUBLISHED_SIZE = (512, 1792)


@dataclass(frozen=True)
class TokenizerData:
    """What training and validation read.

    Attributes:
        train: Energon's savable loader, endless.
        val: loader of the validation split, the same batches each time it is gone through.
        format: how the ranges of this dataset became images.
        size: (height, width) of training images.
    """

    train: Any
    val: Any
    format: RangeMapFormat
    size: tuple[int, int]


def make_data(run: LidarTokenizerTrainConfig, folder: Path, share: DataShare) -> TokenizerData:
    """Return the loaders of this share of the data; make synthetic drives first where the recipe has them.

    Raises:
        DataError: no shards there, damaged ones, or an empty split.
        UserError: options that do not fit the data.
    """
    from energon_tasks.sweeps import lidar_loader

    data, trainer = run.data, run.trainer
    made = (folder / "synthetic", run.synthetic_drives, trainer.seed, max(data.sequence, 2))
    path = data.path or synthetic_shards(*made)
    facts, val_facts = (_read_facts(path, split, data) for split in (data.train_split, data.val_split))
    _check_sizes(data.crop_columns, facts)
    common: dict[str, Any] = {
        "rank": share.rank,
        "world_size": share.world,
        "bad_sample_budget": data.bad_sample_budget,
        "trust_sample_loaders": data.trust_sample_loaders,
    }
    width = data.crop_columns or _whole_size(facts)[1]
    check_width(width, run.parallel.context, COMPRESSION)
    train = lidar_loader(
        path,
        data.train_split,
        batch_size=data.batch_size,
        training=True,
        crop_width=width,
        **_frames(data, "sequential", data.frames_per_clip),
        num_workers=data.workers,
        shuffle_buffer=data.shuffle_runs,
        seed=share.seed,
        **common,
    )
    val = lidar_loader(
        path,
        data.val_split,
        batch_size=data.val_batch_size,
        training=False,
        **_frames(data, "sequential_from_zero", 1),
        crop_width=_whole_size(val_facts)[1],
        limit=trainer.val_batches or None,
        seed=trainer.seed,
        **common,
    )
    return TokenizerData(train, val, facts.format, (facts.height, width))


def _frames(data: DataConfig, order: str, single_frames: int) -> dict[str, Any]:
    """Return what to draw from a run of frames: one sequence in the order of time, or frames at random."""
    if data.sequence > 1:
        return {"frame_mode": order, "frames_per_clip": data.sequence, "temporal": True}
    return {"frame_mode": "random", "frames_per_clip": single_frames}


def image_size(run: LidarTokenizerTrainConfig) -> tuple[int, int]:
    """Return (height, width) of whole images: of the data's sensor if the data is there, else the published size."""
    if run.data.path:
        try:
            return _whole_size(_read_facts(run.data.path, run.data.train_split, run.data))
        except DataError:
            return _PUBLISHED_SIZE
    if not run.synthetic_drives:
        return _PUBLISHED_SIZE
    sensor = debug_sensor()
    return sensor.rows * sensor.format.repeat_rows, sensor.columns // sensor.format.pair_columns


def debug_sensor() -> Sensor:
    """Return the small sensor of synthetic drives."""
    return uniform_sensor(16, 256, name="debug")


def synthetic_shards(folder: Path, drives: int, seed: int, frames: int = 2) -> Path:
    """Return a folder of shards of short synthetic drives of a small sensor; rank 0 makes it, the others wait.

    Args:
        folder: where the shards go.
        drives: how many, of 10 frames each.
        seed: of the first drive.
        frames: in a row that make a sample.
    """
    from cosmos_lidar.shards.plan import PrepareOptions
    from cosmos_lidar.shards.prepare import prepare_shards
    from cosmos_lidar.synth import synthesize_drive

    def make() -> None:
        sensor = debug_sensor()
        logger.info("making %d synthetic drives in %s", drives, folder)
        clips = [synthesize_drive(seed + number, sensor, frames=10) for number in range(drives)]
        shares = (1.0 - 1.0 / drives, 1.0 / drives, 0.0)
        options = PrepareOptions(split=shares, frames_per_sample=frames, samples_per_shard=5)
        prepare_shards(clips, folder, options)

    return made_once(folder, folder / MANIFEST, make)


def _read_facts(path: str | Path, split: str, data: DataConfig) -> SweepFacts:
    """Return what the range maps of a split have in common; their widths may differ where they are cropped."""
    return read_sweep_facts(resolve(path, split, data.trust_sample_loaders), any_width=data.crop_columns > 0)


def _whole_size(facts: SweepFacts) -> tuple[int, int]:
    return facts.height, facts.merged_columns // COMPRESSION * COMPRESSION


def _check_sizes(crop_columns: int, facts: SweepFacts) -> None:
    most, sensor = _whole_size(facts)[1], facts.sensor.name if facts.sensor else "unknown"
    if crop_columns % COMPRESSION or crop_columns > facts.merged_columns:
        raise UserError(
            f"data.crop_columns={crop_columns}: expected a multiple of {COMPRESSION} up to {most}, as maps of sensor "
            f"{sensor} have {facts.merged_columns} merged columns; 0 takes {most}"
        )
    if facts.height % COMPRESSION:
        raise UserError(
            f"sensor {sensor}: {facts.rows} rows repeated {facts.format.repeat_rows} times are {facts.height}, and "
            f"the network needs a multiple of {COMPRESSION}: change format.repeat_rows in the sensor file"
        )
