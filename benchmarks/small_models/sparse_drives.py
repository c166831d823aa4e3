"""Synthetic drives of several lidars, as labeled shards of points: what the small sparse networks are trained on.

Each drive has one of four lidars in turn, so that a network sees 16, 32 and 64 beams and different spacings of them,
with range noise and lost returns. Drives differ in their streets; a drive gives a few sweeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cosmos_lidar.clips import Clip
from cosmos_lidar.parallel.made_once import made_once
from cosmos_lidar.sensors import Sensor, load_sensor, uniform_sensor
from cosmos_lidar.shards.files import write_text
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.points import DOCUMENT
from cosmos_lidar.shards.points_writer import write_points
from cosmos_lidar.synth import Noise, synthesize_drive

SENSORS = ("nuscenes_hdl32e", "uniform64", "uniform16", "kitti_hdl64e")  # of drives 0, 1, 2, 3, 4, 5, …


def sensor_of(seed: int) -> Sensor:
    """Return the lidar of a drive."""
    name = SENSORS[seed % len(SENSORS)]
    return uniform_sensor(16, 1024, name=name) if name == "uniform16" else load_sensor(name)


def drives(seeds: Sequence[int], frames: int) -> list[Clip]:
    """Return the drives of ``seeds``; sweeps are cast when they are read."""
    return [synthesize_drive(seed, sensor_of(seed), frames, noise=Noise()) for seed in seeds]


def make_shards(folder: Path, train: Sequence[int], held_out: Sequence[int], frames: int, jobs: int) -> Path:
    """Write drives as shards of points with the splits ``train`` and ``val``, once; return their folder.

    Args:
        folder: for the shards.
        train: seeds of the drives to train on.
        held_out: seeds of others.
        frames: sweeps of a drive, 10 a second.
        jobs: processes.
    """

    def make() -> None:
        parts = {name: drives(seeds, frames) for name, seeds in (("train", train), ("val", held_out))}
        lists = tuple(folder.parent / f"{name}_clips.txt" for name in parts)
        for path, clips in zip(lists, parts.values(), strict=True):
            write_text(path, "".join(f"{clip.clip_id}\n" for clip in clips))
        write_points([*parts["train"], *parts["val"]], folder, PrepareOptions(split_lists=lists), jobs=jobs)

    return made_once(folder, folder / DOCUMENT, make)
