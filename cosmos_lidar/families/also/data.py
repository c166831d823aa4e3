"""Data of ALSO pre-training: shards of points as batches of voxels and queries; synthetic drives."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from megatron.energon import Sample, SkipSample, edataclass, stateless
from torch import Tensor

from cosmos_lidar.errors import DataError
from cosmos_lidar.families.also.config import AlsoTrainConfig
from cosmos_lidar.families.also.loaders import VoxelRows, open_loaders
from cosmos_lidar.families.also.samples import OtherSweep, PretextCloud, pretext_cloud
from cosmos_lidar.log import logger
from cosmos_lidar.parallel.made_once import made_once
from cosmos_lidar.shards.point_images import read_image_features
from cosmos_lidar.shards.points import DOCUMENT, META, read_meta, sample_key
from cosmos_lidar.training.engine import DataShare
from energon_tasks.batches import DeviceBatch, Ragged
from energon_tasks.loader import CheckedLoader
from energon_tasks.partners import SampleStore
from energon_tasks.points import PointCloud, PointsSample, PointsTaskEncoder
from energon_tasks.skips import SkipReport

_VALUES = ("intensity",)


@edataclass
class PretextSample(Sample):
    """One sweep, or two of a drive, with their queries; poses (n, 4, 4) world_SE3_points."""

    clouds: list[PretextCloud]
    poses: Tensor
    clip_id: str
    seed: int


@edataclass
class PretextBatch(VoxelRows, DeviceBatch):
    """Sweeps of a batch, their voxels and queries; with a contrast of scans, sweeps 2 i and 2 i + 1 are a pair.

    Attributes:
        coords: (v, 3) int64 voxels x, y, z of each sweep.
        feats: (v, C) of the voxels.
        points: (n, 3) meters.
        voxel_of_point: (n,) voxel of each point, counted in its own sweep; -1 for none.
        queries: (q, 3) meters.
        occupied: (q,) 0 or 1.
        intensities: (q, 1); -1 where there is none.
        image_rows: (m,) which points of each sweep have image features.
        image_features: (m, D) there.
        lowest: (B, 3) int64 voxel that 0 stands for, counted from the origin of each sweep's points.
        poses: (B, 4, 4) float64 world_SE3_points, of augmented points; that of the sensor at the origin where unknown.
        clip_ids: clip of each sweep.
        seeds: of the random choices of each sample.
    """

    coords: Ragged
    feats: Ragged
    points: Ragged
    voxel_of_point: Ragged
    queries: Ragged
    occupied: Ragged
    intensities: Ragged
    image_rows: Ragged
    image_features: Ragged
    lowest: Tensor
    poses: Tensor
    clip_ids: list[str]
    seeds: list[int]


class PretextTaskEncoder(PointsTaskEncoder):
    """Reads sweeps of points, draws queries and augmentation, and makes voxels.

    Args:
        run: the configuration.
        seed: of the random choices.
        training: they differ each time a sweep is read, and sweeps are turned and mirrored.
        report: counts samples read and skipped.
    """

    def __init__(self, run: AlsoTrainConfig, seed: int, training: bool, report: SkipReport) -> None:
        super().__init__(_VALUES, seed, training, report)
        self.run, self.training, self.store = run, training, SampleStore()

    @stateless
    def encode_sample(self, sample: PointsSample) -> PretextSample:
        """Decode a sweep, with a second one of its drive where scans are contrasted; make voxels and queries."""
        scans = [sample]
        if self.run.model.contrast.weight:
            scans.append(self._partner(sample))
        sweeps = [super(PretextTaskEncoder, self).encode_sample(one) for one in scans]
        clouds = [
            self._cloud(one, sweep, number) for number, (one, sweep) in enumerate(zip(scans, sweeps, strict=True))
        ]
        poses = [self._pose(one) @ cloud.sensor_SE3_points for one, cloud in zip(sweeps, clouds, strict=True)]
        first = sweeps[0]
        return PretextSample.derive_from(
            sample, clouds=clouds, poses=torch.stack(poses), clip_id=first.clip_id, seed=first.noise_seed
        )

    def _cloud(self, sample: PointsSample, sweep: PointCloud, number: int) -> PretextCloud:
        """Return the pretext sample of a sweep, the first or the second of a pair."""
        config, seed = self.run, sweep.noise_seed + number
        others = [self._other(one, sweep) for one in self._others(sample)]
        wanted = config.model.distillation.weight > 0
        images = read_image_features(sample.parts, len(sweep.points)) if wanted else None
        return pretext_cloud(
            sweep.points, sweep.values["intensity"], config.model, config.data, seed, self.training, others, images
        )

    def _others(self, sample: PointsSample) -> list[PointsSample]:
        """Return the sweeps before and after that the clip has."""
        data = self.run.data
        steps = [data.sweep_gap * step for step in range(-data.sweeps, data.sweeps + 1) if step]
        found = [self._sweep_at(sample, step) for step in steps]
        return [one for one in found if one is not None]

    def _other(self, sample: PointsSample, sweep: PointCloud) -> OtherSweep:
        other = super().encode_sample(sample)
        pose = torch.linalg.inv(self._pose(sweep)) @ self._pose(other)
        return OtherSweep(other.points, other.values["intensity"], pose)

    def _partner(self, sample: PointsSample) -> PointsSample:
        """Return the sweep ``gap`` later in the clip, or earlier where the clip ends; skip the sample without one."""
        gap = self.run.model.contrast.gap
        partner = self._sweep_at(sample, gap) or self._sweep_at(sample, -gap)
        if partner is None:
            self.report.count_short()
            raise SkipSample
        return partner

    def _sweep_at(self, sample: PointsSample, step: int) -> PointsSample | None:
        """Return the sweep so many later in the clip of a sample, where the shards have it."""
        meta = read_meta(sample.parts.get(META, b""))
        key = sample_key(meta.clip_id, meta.frame_number + step)
        parts = self.store.read(sample.__sources__[0].dataset_path, key)
        return None if parts is None else PointsSample.derive_from(sample, parts=parts)

    def _pose(self, sweep: PointCloud) -> Tensor:
        if sweep.pose is None and (self.run.model.contrast.weight or self.run.data.sweeps):
            wanted = "poses, which several sweeps need: model.contrast.weight=0 data.sweeps=0 trains without"
            raise DataError("no pose", clip=sweep.clip_id, key="world_SE3_lidar", wanted=wanted)
        return torch.eye(4, dtype=torch.float64) if sweep.pose is None else sweep.pose

    @stateless
    def batch(self, samples: list[PretextSample]) -> PretextBatch:
        """Concatenate sweeps."""
        clouds = [cloud for sample in samples for cloud in sample.clouds]
        return PretextBatch.from_samples(
            samples,
            **ragged_fields(clouds),
            lowest=torch.stack([cloud.lowest for cloud in clouds]),
            poses=torch.cat([sample.poses for sample in samples]),
            clip_ids=[sample.clip_id for sample in samples],
            seeds=[sample.seed for sample in samples],
        )


def ragged_fields(clouds: list[PretextCloud]) -> dict[str, Ragged]:
    """Return the tensors of some sweeps by the fields of :class:`PretextBatch`."""
    parts = {
        "coords": [cloud.voxels.coords for cloud in clouds],
        "feats": [cloud.voxels.feats for cloud in clouds],
        "points": [cloud.points for cloud in clouds],
        "voxel_of_point": [cloud.voxels.voxel_of_point for cloud in clouds],
        "queries": [cloud.queries.points for cloud in clouds],
        "occupied": [cloud.queries.occupied for cloud in clouds],
        "intensities": [cloud.queries.intensities for cloud in clouds],
        "image_rows": [cloud.image_rows for cloud in clouds],
        "image_features": [cloud.image_features for cloud in clouds],
    }
    return {name: Ragged.from_list(tensors) for name, tensors in parts.items()}


def make_loaders(run: AlsoTrainConfig, folder: Path, share: DataShare) -> tuple[CheckedLoader, CheckedLoader]:
    """Return the loaders of training and validation; make synthetic drives first where the recipe has them.

    Raises:
        DataError: no shards there, damaged ones, or an empty split.
        UserError: points without intensities.
    """
    path = run.data.path or synthetic_shards(folder / "synthetic", run.synthetic_drives, run.trainer.seed)
    return open_loaders(run, (path, path), share, _VALUES, partial(PretextTaskEncoder, run))


def synthetic_shards(folder: Path, drives: int, seed: int, frames: int = 4) -> Path:
    """Return a folder of shards of the points of short synthetic drives of a small lidar; rank 0 makes it.

    Args:
        folder: for the shards.
        drives: how many; the last quarter, at least one, is for validation.
        seed: of the first drive.
        frames: of each drive.
    """
    from cosmos_lidar.sensors import uniform_sensor
    from cosmos_lidar.shards.plan import PrepareOptions
    from cosmos_lidar.shards.points_writer import write_points
    from cosmos_lidar.synth import synthesize_drive

    def make() -> None:
        logger.info("making %d synthetic drives in %s", drives, folder)
        sensor = uniform_sensor(16, 180, name="debug")
        clips = [synthesize_drive(seed + number, sensor, frames) for number in range(drives)]
        validated = max(drives // 4, 1) / drives
        write_points(clips, folder, PrepareOptions(split=(1.0 - validated, validated, 0.0), samples_per_shard=8))

    return made_once(folder, folder / DOCUMENT, make)
