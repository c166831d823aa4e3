"""Task encoder for point clouds: whole lidar sweeps with intensities, labels and poses, in ragged batches.

:mod:`cosmos_lidar.shards.points` has the parts of a sample. Augmentation, decimation and voxels are the network's
matter: they are drawn from the seed of each sample, so that they are the same after a resume and on any rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from megatron.energon import (
    DefaultTaskEncoder,
    Sample,
    basic_sample_keys,
    edataclass,
    stateless,
)
from torch import Tensor

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.shards.points import SAMPLE_TYPE, VALUES, PointsMeta, read_points_facts, read_sweep, value_part
from cosmos_lidar.shards.sources import DataPath, resolve
from energon_tasks.batches import DeviceBatch, Ragged
from energon_tasks.cookers import TypedCooker
from energon_tasks.loader import CheckedLoader
from energon_tasks.seeds import noise_seed
from energon_tasks.skips import SkipReport
from energon_tasks.splits import open_split


@edataclass
class PointsSample(Sample):
    """A sweep as it lies in the shard: arrays still encoded."""

    parts: dict[str, bytes]


@edataclass
class PointCloud(Sample):
    """One sweep; fields as those of :class:`PointsBatch`, without the batch axis."""

    points: Tensor
    values: dict[str, Tensor]
    pose: Tensor | None
    origins_m: Tensor
    clip_id: str
    frame_id: str
    noise_seed: int


@edataclass
class PointsBatch(DeviceBatch):
    """A batch of sweeps of different numbers of points.

    Attributes:
        points: (n, 3) float32 meters of each sweep, in the axes of the lidar.
        values: of the points (n,) by name, those that were asked for: ``intensity`` float32 in the units of the
            dataset, ``time`` int64 microseconds after the start of the sweep, ``labels`` int64 in the numbers of the
            dataset.
        poses: of each sweep, (4, 4) float64 world_SE3_lidar of the axes of its points; None where unknown.
        origins_m: of each sweep, (L, 3) float32 where its lidars stand in the axes of the points.
        clip_ids: clip of each sweep.
        frame_ids: the dataset's name of each sweep.
        noise_seeds: a seed for the random choices of each sweep, a new one each time it is read in training.
    """

    points: Ragged
    values: dict[str, Ragged]
    poses: list[Tensor | None]
    origins_m: list[Tensor]
    clip_ids: list[str]
    frame_ids: list[str]
    noise_seeds: list[int]


class PointsTaskEncoder(DefaultTaskEncoder[PointsSample, PointCloud, PointsBatch, PointsBatch]):
    """Decodes sweeps; nothing is random but the seeds.

    Args:
        values: of the points that every sweep must have, see ``VALUES``.
        seed: of the seeds of samples.
        fresh: they differ each time a sample is read (training).
        report: counts samples read and skipped.
    """

    decoder = None  # the default one executes pickles

    def __init__(self, values: Sequence[str], seed: int, fresh: bool, report: SkipReport) -> None:
        super().__init__()
        self.values, self.seed, self.fresh, self.report = tuple(values), seed, fresh, report
        self.cookers = [TypedCooker(self.cook, SAMPLE_TYPE)]

    @stateless
    def cook(self, crude: dict) -> PointsSample:
        """Take the parts of a sample out of what Energon read; nothing is decoded before the shuffle buffer."""
        self.report.count_seen()
        parts = {name: part for name, part in crude.items() if isinstance(part, bytes) and not name.startswith("__")}
        return PointsSample(**basic_sample_keys(crude), parts=parts)

    @stateless
    def encode_sample(self, sample: PointsSample) -> PointCloud:
        """Decode a sweep."""
        sweep = read_sweep(sample.parts, self.values)
        for name in self.values:
            if name not in sweep.values:
                wanted = f"points with {', '.join(self.values)}"
                raise DataError("part missing", clip=sweep.meta.clip_id, key=value_part(name), wanted=wanted)
        values = {name: torch.from_numpy(value) for name, value in sweep.values.items()}
        return PointCloud.derive_from(
            sample,
            points=torch.from_numpy(sweep.points).float(),
            values={name: value.float() if name == "intensity" else value.long() for name, value in values.items()},
            pose=_pose(sweep.meta),
            origins_m=torch.tensor(sweep.meta.origins_m, dtype=torch.float32),
            clip_id=sweep.meta.clip_id,
            frame_id=sweep.meta.frame_id,
            noise_seed=noise_seed(sample, self.seed, self.fresh),
        )

    @stateless
    def batch(self, samples: list[PointCloud]) -> PointsBatch:
        """Concatenate sweeps."""
        return PointsBatch.from_samples(
            samples,
            points=Ragged.from_list([sample.points for sample in samples]),
            values={name: Ragged.from_list([sample.values[name] for sample in samples]) for name in self.values},
            poses=[sample.pose for sample in samples],
            origins_m=[sample.origins_m for sample in samples],
            clip_ids=[sample.clip_id for sample in samples],
            frame_ids=[sample.frame_id for sample in samples],
            noise_seeds=[sample.noise_seed for sample in samples],
        )


def _pose(meta: PointsMeta) -> Tensor | None:
    return None if meta.world_SE3_lidar is None else torch.tensor(meta.world_SE3_lidar, dtype=torch.float64)


def points_loader(
    path: DataPath,
    split: str,
    *,
    training: bool,
    values: Sequence[str] = ("intensity",),
    seed: int = 0,
    trust_sample_loaders: bool = False,
    **options: Any,
) -> CheckedLoader:
    """Open a split of sweeps as an Energon loader of :class:`PointsBatch`, whose state can be saved.

    Args:
        path: folder that `cosmos-lidar prepare --task points` wrote, several, or a metadataset YAML; see
            :mod:`cosmos_lidar.shards.sources`.
        split: such as ``train``.
        training: shuffled and endless; otherwise in order, once, the same each time.
        values: of the points that are read: ``intensity``, ``time``, ``labels``; sweeps without one of them count as
            bad.
        seed: of order and random choices.
        trust_sample_loaders: run the Python functions that a ``dataset.yaml`` names.
        **options: of :func:`~energon_tasks.splits.open_split`.

    Raises:
        DataError: not an indexed folder of such shards, or the split is empty.
        UserError: values that are not there, or labels of different datasets.
    """
    unknown = [name for name in values if name not in VALUES]
    if unknown:
        raise UserError(f"values {unknown[0]!r}; valid: {', '.join(VALUES)}")
    sources = resolve(path, split, trust_sample_loaders)
    read_points_facts(sources, values)

    def make_encoder(report: SkipReport) -> PointsTaskEncoder:
        return PointsTaskEncoder(values, seed, training, report)

    return open_split(sources, SAMPLE_TYPE, make_encoder, training=training, seed=seed, **options)
