"""Recordings of the demo: sweeps to train on and held-out ones, a drive with cameras, labeled sweeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cosmos_lidar.clips import Clip, open_clips
from cosmos_lidar.clips.cut import cut_clip
from cosmos_lidar.clips.view_ids import view_ids
from cosmos_lidar.errors import DataError
from cosmos_lidar.log import logger
from cosmos_lidar.sensors import Sensor
from cosmos_lidar.synth import synthesize_drive

TRAIN_LABELED, HELD_OUT_LABELED = 8, 4  # sweeps for semantic segmentation
HELD_OUT_SHARE = 0.2
_MOST_SWEEPS = 400  # of a large dataset the demo takes the first sweeps of each clip
_ENOUGH_SWEEPS = 60  # fewer training sweeps are topped up with synthetic drives of the same sensor
_SYNTHETIC_SWEEPS = 20
_IMAGE_ROWS, _IMAGE_COLUMNS = 128, 600
_MOST_CAMERAS = 6
_TOP_UP_SEED = 900_000  # of drives that top up few sweeps


@dataclass(frozen=True)
class Recordings:
    """What the demo is shown on.

    Attributes:
        train: sweeps to train the lidar tokenizer on.
        held_out: sweeps to measure it on; empty without a lidar.
        scene: a drive with cameras, of those with a lidar the one with the most; None without cameras.
        ring: cameras that lidar is generated from.
        views: cameras of the video of several views.
        train_labeled: clips of one sweep with semantic labels each, to train on.
        held_out_labeled: others, to measure on.
        remark: what they are, for the page.
    """

    train: list[Clip]
    held_out: list[Clip]
    scene: Clip | None = None
    ring: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    train_labeled: list[Clip] = field(default_factory=list)
    held_out_labeled: list[Clip] = field(default_factory=list)
    remark: str = ""


def real_recordings(data: Path, format: str | None, lidar: str | None = None) -> Recordings:
    """Return the user's recordings, divided by drive or, where there is only one, in time.

    Args:
        data: file or folder of the recordings.
        format: their reader; None to detect it.
        lidar: name of the lidar; None for the main one.

    Raises:
        DataError: nothing readable, neither sweeps nor images.
    """
    found = [clip for clip in open_clips(data, format, lidar=lidar) if len(clip) or clip.cameras]
    if not found:
        raise DataError("no sweeps and no images", file=data, wanted="recordings with at least one of them")
    clips = _of_one_sensor([clip for clip in found if len(clip)])
    train, held_out, remark = _for_tokenizer(clips)
    remark = f"{len(found)} clip(s) of {data}: {remark}"
    logger.info("%s", remark)
    scene = _most_cameras(found)
    cameras = () if scene is None else _from_the_front(scene)
    return Recordings(train, held_out, scene, cameras, cameras, *_labeled(clips), remark)


def small_images(sensor: Sensor) -> Sensor:
    """Return the sensor with a range-image format small enough for a laptop: about 128 rows, at most 600 columns."""
    pair = next(
        n for n in range(1, sensor.columns + 1) if sensor.columns % n == 0 and sensor.columns // n <= _IMAGE_COLUMNS
    )
    repeat = max(1, _IMAGE_ROWS // sensor.rows)
    return replace(sensor, format=replace(sensor.format, pair_columns=pair, repeat_rows=repeat, crop_columns=0))


def _of_one_sensor(clips: list[Clip]) -> list[Clip]:
    """Return the clips whose sweeps have the shape that most have."""
    if not clips:
        return []
    (shape, count), *others = Counter(clip.sensor.shape for clip in clips).most_common()
    if others:
        logger.warning("%d clips of lidars of other shapes than %d x %d are not used", len(clips) - count, *shape)
    return [clip for clip in clips if clip.sensor.shape == shape]


def _for_tokenizer(clips: list[Clip]) -> tuple[list[Clip], list[Clip], str]:
    """Return training and held-out sweeps in small images, and a remark; none where there is no lidar."""
    if not clips:
        return [], [], "no lidar."
    clips = [clip.with_lidar(sensor=small_images(clip.sensor)) for clip in clips]
    train, held_out = _divide(_first_sweeps(clips))
    remark = f"{_sweeps(train)} sweeps to train on, {_sweeps(held_out)} held out."
    missing = _ENOUGH_SWEEPS - _sweeps(train)
    if missing > 0:
        drives = -(-missing // _SYNTHETIC_SWEEPS)
        seeds = range(_TOP_UP_SEED, _TOP_UP_SEED + drives)
        train = train + [synthesize_drive(seed, clips[0].sensor, _SYNTHETIC_SWEEPS) for seed in seeds]
        remark += f" So few sweeps are topped up with {drives} synthetic drives of the same sensor, for training only."
    return train, held_out, remark


def _first_sweeps(clips: list[Clip]) -> list[Clip]:
    most = max(1, _MOST_SWEEPS // len(clips))
    return [cut_clip(clip, 0, most) if len(clip) > most else clip for clip in clips]


def _divide(clips: list[Clip]) -> tuple[list[Clip], list[Clip]]:
    """Hold out entire clips if there are several, else the end of the clip; a single sweep is held out."""
    if len(clips) > 1:
        held_out = max(1, round(len(clips) * HELD_OUT_SHARE))
        return clips[:-held_out], clips[-held_out:]
    (clip,) = clips
    if len(clip) == 1:
        return [], clips
    border = len(clip) - max(1, round(len(clip) * HELD_OUT_SHARE))
    return [cut_clip(clip, 0, border)], [cut_clip(clip, border, len(clip))]


def _sweeps(clips: list[Clip]) -> int:
    return sum(len(clip) for clip in clips)


def _most_cameras(clips: Sequence[Clip]) -> Clip | None:
    """Return the last of the clips with a lidar, if there are some, with the most cameras; None without cameras."""
    there = [clip for clip in clips if any(map(len, clip.cameras.values()))]
    return max(reversed(there), key=lambda clip: (len(clip) > 0, len(clip.cameras)), default=None)


def _from_the_front(clip: Clip) -> tuple[str, ...]:
    """Return the cameras that have images, the one that looks ahead first, then clockwise."""
    cameras = [camera for camera in clip.cameras.values() if len(camera)]
    ids = view_ids(cameras)
    return tuple(sorted(ids, key=ids.__getitem__)[:_MOST_CAMERAS])


def _labeled(clips: list[Clip]) -> tuple[list[Clip], list[Clip]]:
    """Return clips of one labeled sweep each, to train and to measure on, from different clips or parts of one."""
    if not clips or (len(clips) == 1 and len(clips[0]) == 1):
        return [], []
    train, held_out = _divide(clips)
    return _labeled_sweeps(train, TRAIN_LABELED), _labeled_sweeps(held_out, HELD_OUT_LABELED)


def _labeled_sweeps(clips: list[Clip], most: int) -> list[Clip]:
    """Return at most so many labeled sweeps, evenly over the clips; few are read, where there are none."""
    places = [(clip, number) for clip in clips for number in range(len(clip))]
    found: list[Clip] = []
    for place in range(0, len(places), max(len(places) // (4 * most), 1)):
        clip, number = places[place]
        if clip.lidar.cloud(number).labels is not None:
            found.append(cut_clip(clip, number, number + 1))
    return found[:: max(len(found) // most, 1)][:most]
