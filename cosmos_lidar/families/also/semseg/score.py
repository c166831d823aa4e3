"""Evaluation of semantic segmentation: IoU over all original points, and over one point per cell as published."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.label_maps import LabelMap
from cosmos_lidar.errors import DataError
from cosmos_lidar.families.also.semseg.config import SemsegTrainConfig
from cosmos_lidar.families.also.semseg.model import predicted_classes
from cosmos_lidar.families.also.semseg.network import SegmentationNetwork
from cosmos_lidar.families.also.semseg.samples import LabeledCloud, whole_cloud
from cosmos_lidar.log import logger
from cosmos_lidar.metrics.iou import ConfusionMatrix, spread_labels
from cosmos_lidar.metrics.protocol import Protocol
from cosmos_lidar.shards.energon_index import read_energon_index, shards_of
from cosmos_lidar.shards.label_subset import read_parts
from cosmos_lidar.shards.points import read_sweep


class RecordedSweep(NamedTuple):
    """One sweep with its labels.

    Attributes:
        name: clip and frame.
        points: (N, 3) float32 meters.
        intensity: (N,) float32 in the units of the recording; None where it has none.
        labels: (N,) numbers of the dataset; None where the sweep has none.
    """

    name: str
    points: np.ndarray
    intensity: np.ndarray | None
    labels: np.ndarray | None


class ScoredSweep(NamedTuple):
    """A sweep and the classes of all its points.

    Attributes:
        name: clip and frame.
        points: (N, 3) meters.
        truth: (N,) classes; 0 is ignored.
        predicted: (N,) classes.
    """

    name: str
    points: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray


ReadSweep = Callable[[], RecordedSweep]


@dataclass
class SemsegScore:
    """What an evaluation has counted.

    Attributes:
        classes: names of the classes; the first one is ignored.
        every: all original points.
        decimated: one point per cell, without unlabeled points where training leaves them out: the published protocol.
        sweeps: that were scored.
        without_labels: sweeps that have no labels.
        skipped: sweep -> why it could not be scored.
    """

    classes: tuple[str, ...]
    every: ConfusionMatrix
    decimated: ConfusionMatrix
    sweeps: int = 0
    without_labels: int = 0
    skipped: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a JSON file; IoU of classes that neither occur nor are predicted is None."""
        return {
            "sweeps": self.sweeps,
            "without_labels": self.without_labels,
            "skipped": self.skipped,
            "all_points": self._numbers(self.every),
            "decimated_points": self._numbers(self.decimated),
        }

    def _numbers(self, matrix: ConfusionMatrix) -> dict[str, Any]:
        names, iou = self.classes[1:], matrix.iou()[1:]
        means = {"miou": matrix.mean_iou(), "fiou": matrix.frequency_iou(), "accuracy": matrix.accuracy()}
        return {
            "points": int(matrix.counted.sum()),
            **{name: _known(value) for name, value in means.items()},
            "iou": {name: _known(value) for name, value in zip(names, iou, strict=True)},
            "confusion": matrix.counts.tolist(),
        }


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def sweeps_of_shards(folder: Path, split: str) -> Iterator[tuple[str, ReadSweep]]:
    """Yield key and reader of each sweep of a folder of points.

    Raises:
        DataError: no index, or no such split.
    """
    index = read_energon_index(folder)
    for shard in shards_of(folder, split):
        for place in index.samples[shard]:
            yield place.key, partial(_read_sample, folder / shard, place)


def _read_sample(shard: Path, place: Any) -> RecordedSweep:
    sweep = read_sweep(read_parts(shard, place))
    values = sweep.values
    return RecordedSweep(place.key, sweep.points, values.get("intensity"), values.get("labels"))


def sweeps_of_clips(clips: Sequence[Clip]) -> Iterator[tuple[str, ReadSweep]]:
    """Yield name and reader of each sweep of the main lidar of recordings."""
    for clip in clips:
        for number in range(len(clip)):
            name = f"{clip.clip_id}_{clip.frame_ids[number]}"
            yield name, partial(_read_cloud, clip, number, name)


def _read_cloud(clip: Clip, number: int, name: str) -> RecordedSweep:
    sweep = clip.lidar.cloud(number)
    if sweep.points is None or not len(sweep.points):
        raise DataError("no points", file=clip.source, clip=clip.clip_id, key=name, wanted="a sweep of points")
    return RecordedSweep(name, sweep.points, sweep.intensity, sweep.labels)


def score_sweeps(
    network: SegmentationNetwork,
    sweeps: Sequence[tuple[str, ReadSweep]],
    run: SemsegTrainConfig,
    label_map: LabelMap,
    on_sweep: Callable[[ScoredSweep | None], None] | None = None,
) -> SemsegScore:
    """Return the IoU of a network over sweeps; those that cannot be read, or hold unknown classes, are skipped.

    Args:
        network: on its device, in eval mode.
        sweeps: name and reader of each one.
        run: how voxels are made.
        label_map: of the labels.
        on_sweep: called after each sweep, with None where it was skipped.
    """
    size = len(label_map.classes)
    score = SemsegScore(label_map.classes, ConfusionMatrix(size), ConfusionMatrix(size))
    for name, read in sweeps:
        scored = None
        try:
            sweep = read()
            if sweep.labels is None:
                score.without_labels += 1
            else:
                scored = _score(network, sweep, run, label_map, score)
        except DataError as error:
            logger.warning("skipped sweep %s: %s", name, error)
            score.skipped[name] = str(error)
        if on_sweep is not None:
            on_sweep(scored)
    return score


def _score(
    network: SegmentationNetwork, sweep: RecordedSweep, run: SemsegTrainConfig, label_map: LabelMap, score: SemsegScore
) -> ScoredSweep:
    truth = label_map.apply(np.asarray(sweep.labels), points=len(sweep.points))
    seen, found = predict(network, sweep, truth, run)
    predicted = spread_labels(seen.points.numpy(), found, sweep.points)
    decimated = (seen, found)
    if run.data.drop_unlabeled and (truth > 0).any():
        counted = truth > 0
        intensity = None if sweep.intensity is None else sweep.intensity[counted]
        labeled = RecordedSweep(sweep.name, sweep.points[counted], intensity, None)
        decimated = predict(network, labeled, truth[counted], run)
    score.every.add(truth, predicted)
    score.decimated.add(decimated[0].classes.numpy(), decimated[1])
    score.sweeps += 1
    return ScoredSweep(sweep.name, sweep.points, truth, predicted)


@torch.no_grad()
def predict(
    network: SegmentationNetwork, sweep: RecordedSweep, classes: np.ndarray, run: SemsegTrainConfig
) -> tuple[LabeledCloud, np.ndarray]:
    """Return the points of a sweep that the network sees, one per cell, and the class that it gives to each.

    Args:
        network: on its device, in eval mode.
        sweep: with at least one point.
        classes: (N,) of its points, which come back with those that are seen.
        run: how voxels are made.

    Raises:
        DataError: no intensities where the network takes them, or points that are too far away.
    """
    if sweep.intensity is None and "intensities" in run.model.inputs:
        raise DataError("points without intensities", key=sweep.name, wanted="intensities, which the network takes")
    points = torch.from_numpy(np.ascontiguousarray(sweep.points, np.float32))
    intensity = torch.zeros(len(points)) if sweep.intensity is None else _floats(sweep.intensity)
    cloud = whole_cloud(points, intensity, torch.from_numpy(classes).long(), run.model, run.data)
    device = next(network.parameters()).device
    voxels = torch.nn.functional.pad(cloud.voxels.coords, (1, 0)).to(device)
    scores = network(voxels, cloud.voxels.feats.to(device), cloud.voxels.voxel_of_point.to(device), 1)
    return cloud, predicted_classes(scores).cpu().numpy()


def _floats(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


def protocol_of(run: SemsegTrainConfig, label_map: LabelMap) -> Protocol:
    """Return what the numbers depend on beside data and weights."""
    settings = {
        "classes": list(label_map.classes),
        "decimation_m": run.data.decimation,
        "voxel_size_m": run.model.voxel_size,
        "inputs": list(run.model.inputs),
        "decimated_without_unlabeled": run.data.drop_unlabeled,
    }
    definition = (
        "Intersection over union of semantic classes of one confusion matrix of all sweeps, class 0 ignored; every "
        "point has the class of the nearest point that the network was given."
    )
    return Protocol("semantic IoU", definition, settings)
