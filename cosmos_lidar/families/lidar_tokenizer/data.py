"""The two loaders of a tokenizer run, from the options in ``data``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.lidar_tokenizer.config import DataConfig, LidarTokenizerTrainConfig
from cosmos_lidar.log import logger
from cosmos_lidar.parallel.made_once import made_once
from cosmos_lidar.parallel.spatial import check_width
from cosmos_lidar.sensors import RangeMapFormat, Sensor, load_sensor, uniform_sensor
from cosmos_lidar.shards.manifest import MANIFEST, read_manifest
from cosmos_lidar.training.engine import DataShare

_COMPRESSION = 8  # the network wants heights and widths that are multiples of it
_PUBLISHED_SIZE = (512, 1792)


@dataclass(frozen=True)
class TokenizerData:
    """What training and validation read.

    Attributes:
        train: Energon's savable loader, endless.
        val: loader of the validation split, the same batches each time it is gone through.
        picture: how the ranges of this dataset became pictures.
        size: (height, width) of training pictures.
    """

    train: Any
    val: Any
    picture: RangeMapFormat
    size: tuple[int, int]


def make_data(run: LidarTokenizerTrainConfig, folder: Path, share: DataShare) -> TokenizerData:
    """Return the loaders of this share of the data; make synthetic drives first where the recipe asks for them.

    Raises:
        DataError: no shards there, damaged ones, or an empty split.
        UserError: options that do not fit the data.
    """
    from energon_tasks.sweeps import lidar_loader

    data, trainer = run.data, run.trainer
    made = (folder / "synthetic", run.synthetic_drives, trainer.seed, max(data.sequence, 2))
    path = Path(data.path) if data.path else synthetic_shards(*made)
    sensor = load_sensor(path / read_manifest(path).sensors[0])
    merged = sensor.columns // sensor.format.pair_columns
    _check_sizes(data.crop_columns, merged, sensor)
    ranks = {"rank": share.rank, "world_size": share.world}
    width = data.crop_columns or merged // _COMPRESSION * _COMPRESSION
    check_width(width, run.parallel.context, _COMPRESSION)
    train = lidar_loader(
        path,
        data.train_split,
        batch_size=data.batch_size,
        training=True,
        crop_width=width,
        **_frames(data, "sequential", data.frames_per_clip),
        num_workers=data.workers,
        shuffle_buffer=data.shuffle_runs,
        bad_sample_budget=data.bad_sample_budget,
        seed=share.seed,
        **ranks,
    )
    val = lidar_loader(
        path,
        data.val_split,
        batch_size=data.val_batch_size,
        training=False,
        **_frames(data, "sequential_from_zero", 1),
        crop_width=merged // _COMPRESSION * _COMPRESSION,
        limit=trainer.val_batches or None,
        bad_sample_budget=data.bad_sample_budget,
        seed=trainer.seed,
        **ranks,
    )
    return TokenizerData(train, val, sensor.format, (_whole_size(sensor)[0], width))


def _frames(data: DataConfig, order: str, single_frames: int) -> dict[str, Any]:
    """Return what to draw from a run of frames: one sequence in the order of time, or frames at random."""
    if data.sequence > 1:
        return {"frame_mode": order, "frames_per_clip": data.sequence, "temporal": True}
    return {"frame_mode": "random", "frames_per_clip": single_frames}


def picture_size(run: LidarTokenizerTrainConfig) -> tuple[int, int]:
    """Return (height, width) of whole pictures: of the data's sensor if the data is there, else the published size."""
    path = Path(run.data.path)
    if run.data.path and (path / MANIFEST).is_file():
        return _whole_size(load_sensor(path / read_manifest(path).sensors[0]))
    return _whole_size(debug_sensor()) if run.synthetic_drives and not run.data.path else _PUBLISHED_SIZE


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


def _whole_size(sensor: Sensor) -> tuple[int, int]:
    merged = sensor.columns // sensor.format.pair_columns
    return sensor.rows * sensor.format.repeat_rows, merged // _COMPRESSION * _COMPRESSION


def _check_sizes(crop_columns: int, merged: int, sensor: Sensor) -> None:
    most = merged // _COMPRESSION * _COMPRESSION
    if crop_columns % _COMPRESSION or crop_columns > merged:
        raise UserError(
            f"data.crop_columns={crop_columns}: a multiple of {_COMPRESSION} up to {most} is wanted, as maps of sensor "
            f"{sensor.name} have {merged} merged columns; 0 takes {most}"
        )
    height = sensor.rows * sensor.format.repeat_rows
    if height % _COMPRESSION:
        raise UserError(
            f"sensor {sensor.name}: {sensor.rows} rows repeated {sensor.format.repeat_rows} times are {height}, and "
            f"the network wants a multiple of {_COMPRESSION}: change format.repeat_rows in the sensor file"
        )
