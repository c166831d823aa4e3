"""Voxels and classes of a sweep, in training and in validation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.families.also.semseg.samples import training_cloud, whole_cloud
from tests.families.also.semseg.sweeps import room, small_run, write_label_map


@pytest.fixture
def content(tmp_path: Path):
    sweep = room(0)
    classes = torch.from_numpy((sweep.labels == 40) + 2 * (sweep.labels == 50).astype(int)).long()
    return (torch.from_numpy(sweep.points), torch.from_numpy(sweep.intensity), classes), small_run(
        write_label_map(tmp_path)
    )


def test_classes_stay_with_their_points(content):
    (points, intensity, classes), run = content
    run.data.decimation, run.data.intensity_scale, run.data.points = None, 4.0, 100
    cloud = training_cloud(points, intensity, classes, run.model, run.data, seed=3)
    assert len(cloud.points) == len(cloud.classes) == 100
    place = {tuple(point): number for number, point in enumerate(points.tolist())}
    rows = [place[tuple(point)] for point in cloud.points.tolist()]
    assert torch.equal(cloud.classes, classes[rows])
    again = training_cloud(points, intensity, classes, run.model, run.data, seed=3)
    assert torch.equal(again.voxels.feats, cloud.voxels.feats)
    first = {int(voxel): row for row, voxel in reversed(list(zip(rows, cloud.voxels.voxel_of_point, strict=True)))}
    wanted = torch.tensor([float(intensity[first[voxel]]) / 4 for voxel in range(len(first))])
    assert torch.allclose(cloud.voxels.feats[:, 3], wanted)
    turned = cloud.voxels.feats[:, :3].norm(dim=1)
    assert torch.allclose(turned, points[[first[voxel] for voxel in range(len(first))]].norm(dim=1), atol=1e-5)


def test_validation_keeps_one_point_per_cell_and_turns_nothing(content):
    (points, intensity, classes), run = content
    run.data.points = 10
    cloud = whole_cloud(points, intensity, classes, run.model, run.data)
    cells = (points / 0.2).trunc().long()
    assert len(cloud.points) == len(cells.unique(dim=0))
    assert torch.equal(cloud.voxels.feats[cloud.voxels.voxel_of_point[0], :3], cloud.points[0])


def test_unlabeled_points_are_left_out_where_that_is_asked_for(content):
    (points, intensity, classes), run = content
    run.data.drop_unlabeled = True
    assert int(training_cloud(points, intensity, classes, run.model, run.data, 0).classes.min()) == 1
    assert int(whole_cloud(points, intensity, classes, run.model, run.data).classes.min()) == 0
    with pytest.raises(DataError, match="none of 600 points has a class"):
        training_cloud(points, intensity, classes * 0, run.model, run.data, 0)


def test_an_empty_sweep_is_refused(content):
    (points, intensity, classes), run = content
    for make in (lambda *x: training_cloud(*x, 0), whole_cloud):
        with pytest.raises(DataError, match="at least one"):
            make(points[:0], intensity[:0], classes[:0], run.model, run.data)
