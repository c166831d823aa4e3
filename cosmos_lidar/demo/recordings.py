"""Training and held-out clips of the demo."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from cosmos_lidar.clips import Clip, open_clips
from cosmos_lidar.clips.cut import cut_clip
from cosmos_lidar.errors import DataError
from cosmos_lidar.log import logger
from cosmos_lidar.sensors import Sensor, load_sensor
from cosmos_lidar.synth import synthesize_drive

_HELD_OUT_SHARE = 0.2
_MOST_SWEEPS = 400  # of a large dataset the demo takes the first sweeps of each clip
_ENOUGH_SWEEPS = 60  # fewer training sweeps are topped up with synthetic drives of the same sensor
_SYNTHETIC_SWEEPS = 20
_IMAGE_ROWS, _IMAGE_COLUMNS = 128, 600


class Recordings(NamedTuple):
    """Training and held-out clips, and a remark on their source for the report."""

    train: list[Clip]
    held_out: list[Clip]
    remark: str


def synthetic_recordings(drives: int, first_seed: int = 0) -> Recordings:
    """Return synthetic drives of a 64-beam sensor; the last fifth, at least one, is held out."""
    sensor = small_images(load_sensor("uniform64"))
    clips = [synthesize_drive(first_seed + seed, sensor, _SYNTHETIC_SWEEPS) for seed in range(drives)]
    held_out = max(1, round(drives * _HELD_OUT_SHARE))
    remark = f"{drives} synthetic drives of {_SYNTHETIC_SWEEPS} sweeps, {held_out} of them held out."
    return Recordings(clips[:-held_out], clips[-held_out:], remark)


def real_recordings(data: Path, format: str | None, lidar: str | None = None) -> Recordings:
    """Return the user's recordings, divided by drive or, where there is only one, in time.

    Args:
        data: file or folder of the recordings.
        format: their reader; None to detect it.
        lidar: name of the lidar; None for the main one.

    Raises:
        DataError: nothing readable, or drives of different sensors.
    """
    clips = [clip for clip in open_clips(data, format, lidar=lidar) if len(clip)]
    if not clips:
        raise DataError("no sweeps", file=data, wanted="a dataset of at least one lidar sweep")
    shapes = {clip.sensor.shape for clip in clips}
    if len(shapes) > 1:
        raise DataError(f"sensors of {len(shapes)} different shapes", file=data, wanted="drives of one sensor")
    clips = [clip.with_lidar(sensor=small_images(clip.sensor)) for clip in clips]
    train, held_out = _divide(_first_sweeps(clips))
    remark = f"{len(clips)} clip(s) of {data}: {_sweeps(train)} sweeps to train on, {_sweeps(held_out)} held out."
    missing = _ENOUGH_SWEEPS - _sweeps(train)
    if missing > 0:
        drives = -(-missing // _SYNTHETIC_SWEEPS)
        train = train + [synthesize_drive(seed, clips[0].sensor, _SYNTHETIC_SWEEPS) for seed in range(drives)]
        remark += f" So few sweeps are topped up with {drives} synthetic drives of the same sensor, for training only."
    logger.info("%s", remark)
    return Recordings(train, held_out, remark)


def small_images(sensor: Sensor) -> Sensor:
    """Return the sensor with a range-image format small enough for a laptop: about 128 rows, at most 600 columns."""
    pair = next(
        n for n in range(1, sensor.columns + 1) if sensor.columns % n == 0 and sensor.columns // n <= _IMAGE_COLUMNS
    )
    repeat = max(1, _IMAGE_ROWS // sensor.rows)
    return replace(sensor, format=replace(sensor.format, pair_columns=pair, repeat_rows=repeat, crop_columns=0))


def _first_sweeps(clips: list[Clip]) -> list[Clip]:
    most = max(1, _MOST_SWEEPS // len(clips))
    return [cut_clip(clip, 0, most) if len(clip) > most else clip for clip in clips]


def _divide(clips: list[Clip]) -> tuple[list[Clip], list[Clip]]:
    """Hold out entire clips if there are several, else the end of the clip; a single sweep is held out."""
    if len(clips) > 1:
        held_out = max(1, round(len(clips) * _HELD_OUT_SHARE))
        return clips[:-held_out], clips[-held_out:]
    (clip,) = clips
    if len(clip) == 1:
        return [], clips
    border = len(clip) - max(1, round(len(clip) * _HELD_OUT_SHARE))
    return [cut_clip(clip, 0, border)], [cut_clip(clip, border, len(clip))]


def _sweeps(clips: list[Clip]) -> int:
    return sum(len(clip) for clip in clips)
