"""Reader of prepared shards as clips, to evaluate on exactly the frames of a split."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmos_lidar.clips import Clip, Sweep, one_lidar_clip
from cosmos_lidar.clips.files import clean_id
from cosmos_lidar.clips.range_codec import decode_ranges
from cosmos_lidar.clips.tar_index import TarIndex
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.sensors import load_sensor
from cosmos_lidar.shards.manifest import MANIFEST, read_manifest
from cosmos_lidar.shards.sweeps import META, RANGES, SampleMeta, read_meta


@dataclass(frozen=True)
class _Sample:
    tar: TarIndex
    key: str
    meta: SampleMeta


@dataclass(frozen=True)
class _Sweeps:
    """Reads sweep ``index`` of a clip; ``places`` has the sample of each one and its position there."""

    clip_id: str
    places: tuple[tuple[_Sample, int], ...]

    def __call__(self, index: int) -> Sweep:
        sample, position = self.places[index]
        key = f"{sample.key}.{RANGES}"
        try:
            return Sweep(range_m=decode_ranges(sample.tar.read(key, self.clip_id), [position])[0])
        except DataError as error:
            raise error.at(file=sample.tar.path, clip=self.clip_id, key=key) from error


def is_shards(path: Path) -> bool:
    """Return whether ``path`` is a folder that ``cosmos-lidar prepare`` finished."""
    return (path / MANIFEST).is_file()


def open_shards(folder: Path, split: str | None = None) -> list[Clip]:
    """Return the clips in a folder of shards, in the order of the shards.

    Args:
        folder: made by ``cosmos-lidar prepare``.
        split: only this split, such as ``"val"``; None for all.

    Raises:
        DataError: a file is missing or broken.
        UserError: there is no such split.
    """
    manifest = read_manifest(folder)
    if split is not None and split not in manifest.splits:
        raise UserError(f"no split {split!r} in {folder}: there are {', '.join(manifest.splits)}")
    samples: dict[str, list[_Sample]] = defaultdict(list)
    for shard in manifest.shards if split is None else manifest.of_split(split):
        for sample in _samples(folder / shard.name):
            samples[sample.meta.clip_id].append(sample)
    return [_clip(folder, clean_id(clip_id), found) for clip_id, found in samples.items()]


def _samples(path: Path) -> list[_Sample]:
    tar = TarIndex.of(path)
    keys = [name.removesuffix(f".{META}") for name in tar.members if name.endswith(f".{META}")]
    samples = []
    for key in keys:
        try:
            samples.append(_Sample(tar, key, read_meta(tar.read(f"{key}.{META}"))))
        except DataError as error:
            raise error.at(file=path, key=f"{key}.{META}") from error
    return samples


def _clip(folder: Path, clip_id: str, samples: list[_Sample]) -> Clip:
    samples = sorted(samples, key=lambda sample: sample.meta.frame_numbers[0])
    first = samples[0].meta
    poses = None
    if first.world_SE3_lidar is not None:
        poses = np.concatenate([np.asarray(sample.meta.world_SE3_lidar, np.float64) for sample in samples])
    return one_lidar_clip(
        clip_id,
        load_sensor(folder / first.sensor_file),
        tuple(frame for sample in samples for frame in sample.meta.frame_ids),
        np.concatenate([np.asarray(sample.meta.timestamps_us, np.int64) for sample in samples]),
        _Sweeps(clip_id, tuple((sample, at) for sample in samples for at in range(len(sample.meta.frame_ids)))),
        folder,
        "shards",
        world_SE3_lidar=poses,
    )
