"""Data of semantic segmentation: shards of labeled points as batches of voxels and classes; synthetic drives."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from megatron.energon import Sample, edataclass, stateless
from torch import Tensor

from cosmos_lidar.clips.label_maps import LabelMap, load_label_map
from cosmos_lidar.clips.source_state import files_state
from cosmos_lidar.errors import DataError
from cosmos_lidar.families.also.data import synthetic_shards
from cosmos_lidar.families.also.loaders import VoxelRows, open_loaders
from cosmos_lidar.families.also.semseg.config import SemsegTrainConfig
from cosmos_lidar.families.also.semseg.samples import LabeledCloud, training_cloud, whole_cloud
from cosmos_lidar.parallel.made_once import made_once
from cosmos_lidar.shards.label_subset import write_subset
from cosmos_lidar.shards.points import DOCUMENT
from cosmos_lidar.training.engine import DataShare
from energon_tasks.batches import DeviceBatch, Ragged
from energon_tasks.loader import CheckedLoader
from energon_tasks.points import PointsSample, PointsTaskEncoder
from energon_tasks.skips import SkipReport

_VALUES = ("intensity", "labels")


@edataclass
class SemsegSample(Sample):
    """One labeled sweep, with all its points where it is validated."""

    cloud: LabeledCloud
    all_points: Tensor
    all_classes: Tensor
    clip_id: str


@edataclass
class SemsegBatch(VoxelRows, DeviceBatch):
    """Sweeps of a batch, their voxels and classes.

    Attributes:
        coords: (v, 3) int64 voxels x, y, z of each sweep.
        feats: (v, C) of the voxels.
        voxel_of_point: (n,) voxel of each point, counted in its own sweep.
        points: (n, 3) meters, the points that the network sees, as recorded.
        classes: (n,) int64 of these points; 0 is ignored.
        all_points: (m, 3) meters, all points of each sweep; none in training.
        all_classes: (m,) int64 of all points; none in training.
        clip_ids: clip of each sweep.
    """

    coords: Ragged
    feats: Ragged
    voxel_of_point: Ragged
    points: Ragged
    classes: Ragged
    all_points: Ragged
    all_classes: Ragged
    clip_ids: list[str]


class SemsegTaskEncoder(PointsTaskEncoder):
    """Reads labeled sweeps, maps their labels to classes, augments, and makes voxels.

    Args:
        run: the configuration.
        label_map: of the dataset.
        seed: of the random choices.
        training: they differ each time a sweep is read, and sweeps are thinned, turned and mirrored.
        report: counts samples read and skipped.
    """

    def __init__(
        self, run: SemsegTrainConfig, label_map: LabelMap, seed: int, training: bool, report: SkipReport
    ) -> None:
        super().__init__(_VALUES, seed, training, report)
        self.run, self.label_map, self.training = run, label_map, training

    @stateless
    def encode_sample(self, sample: PointsSample) -> SemsegSample:
        """Decode a sweep and make its voxels."""
        read, run = super().encode_sample(sample), self.run
        classes = self._classes(read.values["labels"], read.clip_id)
        content = (read.points, read.values["intensity"], classes, run.model, run.data)
        cloud = training_cloud(*content, read.noise_seed) if self.training else whole_cloud(*content)
        shown = slice(0) if self.training else slice(None)
        return SemsegSample.derive_from(
            sample, cloud=cloud, all_points=read.points[shown], all_classes=classes[shown], clip_id=read.clip_id
        )

    def _classes(self, labels: Tensor, clip_id: str) -> Tensor:
        try:
            return torch.from_numpy(self.label_map.apply(labels.numpy())).long()
        except DataError as error:
            raise error.at(clip=clip_id, key="labels") from error

    @stateless
    def batch(self, samples: list[SemsegSample]) -> SemsegBatch:
        """Concatenate sweeps."""
        return SemsegBatch.from_samples(
            samples,
            **ragged_fields([sample.cloud for sample in samples]),
            all_points=Ragged.from_list([sample.all_points for sample in samples]),
            all_classes=Ragged.from_list([sample.all_classes for sample in samples]),
            clip_ids=[sample.clip_id for sample in samples],
        )


def ragged_fields(clouds: Sequence[LabeledCloud]) -> dict[str, Ragged]:
    """Return the tensors of some sweeps by the fields of :class:`SemsegBatch`."""
    parts = {
        "coords": [cloud.voxels.coords for cloud in clouds],
        "feats": [cloud.voxels.feats for cloud in clouds],
        "voxel_of_point": [cloud.voxels.voxel_of_point for cloud in clouds],
        "points": [cloud.points for cloud in clouds],
        "classes": [cloud.classes for cloud in clouds],
    }
    return {name: Ragged.from_list(tensors) for name, tensors in parts.items()}


def make_loaders(run: SemsegTrainConfig, folder: Path, share: DataShare) -> tuple[CheckedLoader, CheckedLoader]:
    """Return the loaders of training and validation.

    Synthetic drives, and the labeled fraction of a skip ratio, are written below the run folder first.

    Raises:
        DataError: no shards there, damaged ones, or an empty split.
        UserError: points without intensities or labels, or a skip ratio that the dataset does not have.
    """
    path = run.data.path or synthetic_shards(folder / "synthetic", run.synthetic_drives, run.trainer.seed)
    encoder = partial(SemsegTaskEncoder, run, load_label_map(run.model.label_map))
    return open_loaders(run, (_labeled(run, path, folder), path), share, _VALUES, encoder)


def _labeled(run: SemsegTrainConfig, path: str | Path, folder: Path) -> str | Path:
    """Return a folder with the sweeps that the skip ratio keeps; rank 0 writes it, again where the data has changed."""
    data = run.data
    if data.skip_ratio == 1:
        return path
    state = files_state([Path(path) / DOCUMENT])
    out = folder / f"labeled_{data.skip_ratio}_{data.train_split}_{state[:8]}"
    return made_once(out, out / DOCUMENT, partial(write_subset, path, data.train_split, data.skip_ratio, out))
