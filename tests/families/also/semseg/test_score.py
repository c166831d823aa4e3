"""Evaluation of segmentation: all points, decimated ones, what is skipped; shards and recordings alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("megatron.energon")

from cosmos_lidar.clips.label_maps import load_label_map
from cosmos_lidar.families.also.semseg.score import (
    RecordedSweep,
    ScoredSweep,
    protocol_of,
    score_sweeps,
    sweeps_of_clips,
    sweeps_of_shards,
)
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.points_writer import write_points
from tests.families.also.semseg.sweeps import FLOOR, WALL, room_clip, small_run, write_label_map


class ByHeight(nn.Module):
    """Wall where the voxel's first point is above -1 m, else floor; z is the third feature."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, voxels, feats, voxel_of_point, clouds):
        wall = (feats[:, 2] > -1).float()[voxel_of_point]
        return torch.stack([torch.full_like(wall, 9), 1 - wall, wall], 1)


@pytest.fixture
def setting(tmp_path: Path):
    path = write_label_map(tmp_path)
    return small_run(path), load_label_map(path)


def sweep_of(points: list, labels: list, intensity: bool = True) -> RecordedSweep:
    rows = np.array(points, np.float32)
    return RecordedSweep("a", rows, np.ones(len(rows), np.float32) if intensity else None, np.array(labels, np.uint16))


# The second point lies in the cell of the first, the fourth has no label.
POINTS, LABELS = [[5, 5, -1.55], [5.01, 5, -1.55], [5, 9, 1], [-3, 4, 2]], [FLOOR, WALL, WALL, 0]


def test_all_points_count_and_beside_them_one_of_each_cell(setting):
    run, label_map = setting
    seen: list[ScoredSweep | None] = []
    score = score_sweeps(ByHeight(), [("a", lambda: sweep_of(POINTS, LABELS))], run, label_map, seen.append)
    assert score.every.counts.tolist() == [[0, 0, 1], [0, 1, 0], [0, 1, 1]]
    assert score.decimated.counts.tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 1]]
    assert seen[0].predicted.tolist() == [1, 1, 2, 2]
    numbers = score.to_dict()
    assert numbers["all_points"]["iou"] == {"floor": 0.5, "wall": 0.5}
    assert numbers["decimated_points"]["miou"] == 1.0
    assert numbers["all_points"]["accuracy"] == pytest.approx(2 / 3)


def test_unlabeled_points_are_not_given_to_the_network_in_the_published_protocol(setting):
    run, label_map = setting
    run.data.drop_unlabeled = True
    score = score_sweeps(ByHeight(), [("a", lambda: sweep_of(POINTS, LABELS))], run, label_map)
    assert score.decimated.counts.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert score.every.counts[0].sum() == 1


def test_odd_sweeps_are_skipped_with_their_reasons(setting):
    run, label_map = setting
    good = sweep_of(POINTS, LABELS)
    odd = {
        "short": good._replace(labels=good.labels[:-1]),
        "unknown": good._replace(labels=good.labels + 7),
        "empty": good._replace(points=good.points[:0], labels=good.labels[:0], intensity=good.intensity[:0]),
        "dark": good._replace(intensity=None),
        "unlabeled": good._replace(labels=None),
    }
    sweeps = [(name, lambda sweep=sweep: sweep) for name, sweep in {**odd, "good": good}.items()]
    score = score_sweeps(ByHeight(), sweeps, run, label_map)
    assert (score.sweeps, score.without_labels, set(score.skipped)) == (1, 1, {"short", "unknown", "empty", "dark"})
    for name, reason in (("short", "3 labels of 4 points"), ("unknown", "unknown classes 7, 47, 57"),
                         ("empty", "at least one"), ("dark", "without intensities")):  # fmt: skip
        assert reason in score.skipped[name]


def test_shards_and_recordings_have_the_same_score(setting, tmp_path: Path):
    run, label_map = setting
    clips = [room_clip(name, 2) for name in "ab"]
    write_points(clips, tmp_path / "shards", PrepareOptions(split=(1,)))
    sources = sweeps_of_shards(tmp_path / "shards", "train"), sweeps_of_clips(clips)
    scores = [score_sweeps(ByHeight(), list(sweeps), run, label_map) for sweeps in sources]
    assert scores[0].every.counts.tolist() == scores[1].every.counts.tolist()
    assert scores[0].every.counts.sum() == 4 * 600
    broken = clips[0].with_lidar(read=lambda number: replace(clips[0].read_sweep(number), points=None))
    assert len(score_sweeps(ByHeight(), list(sweeps_of_clips([broken])), run, label_map).skipped) == 2


def test_the_protocol_changes_with_the_cells(setting):
    run, label_map = setting
    before = protocol_of(run, label_map).hash
    run.data.decimation = 0.3
    assert protocol_of(run, label_map).hash != before
