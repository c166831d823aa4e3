"""Sweeps as shards of points: poses, labels, what is left out and what is skipped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("megatron.energon")

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.clip import Sweep
from cosmos_lidar.errors import DataError
from cosmos_lidar.shards.check import read_samples
from cosmos_lidar.shards.check_index import check_indexed
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.points import PointSweep, read_document, read_sweep
from cosmos_lidar.shards.points_writer import sweep_pose, write_points
from tests.shards.point_clips import START_US, labeled_clip, points_of

OPTIONS = PrepareOptions(split=(1, 1), bad_budget=0.5, samples_per_shard=2)


def samples(folder: Path) -> dict[str, PointSweep]:
    found = [one for path in sorted(folder.glob("*.tar")) for one in read_samples(path)]
    return {place.key: read_sweep(parts) for place, parts in found}


def test_sweeps_with_labels_and_poses(tmp_path: Path):
    clips = [labeled_clip("a"), labeled_clip("b", motion_compensated=True)]
    written = write_points(clips, tmp_path / "out", OPTIONS)
    found = samples(tmp_path / "out")
    assert list(found) == [f"{name}_{number:06d}" for name in _order(tmp_path / "out") for number in range(3)]
    sweep = found["a_000001"]
    np.testing.assert_array_equal(sweep.points, points_of("a", 1))
    assert sweep.values["labels"].dtype == np.uint16
    assert found["a_000002"].values["labels"].dtype == np.uint8
    assert set(sweep.values["labels"].tolist()) == {0, 150, 300}
    assert sweep.values["intensity"].tolist() == [0.25] * 45
    meta = sweep.meta
    assert (meta.frame_id, meta.timestamps_us) == ("frame1", [START_US + 100_000, START_US + 200_000])
    assert np.array(meta.world_SE3_lidar)[0, 3] == pytest.approx(1.5)  # in the middle of the sweep
    assert np.array(found["b_000001"].meta.world_SE3_lidar)[0, 3] == pytest.approx(1.0)  # where compensated points are
    assert (len(written.shards), written.without_labels) == (4, 0)
    assert not check_indexed(tmp_path / "out").problems
    shard = tmp_path / "out" / written.shards[0].name
    content = bytearray(shard.read_bytes())
    content[1200] ^= 1  # within the coordinates
    shard.write_bytes(content)
    assert any("sha256 differs" in one.problem for one in check_indexed(tmp_path / "out").problems)


def _order(folder: Path) -> list[str]:
    return [name for names in read_document(folder)["clips"].values() for name in names]


def test_odd_sweeps_are_skipped_and_unlabeled_ones_left_out(tmp_path: Path):
    clip = labeled_clip("a", 5)

    def read(number: int) -> Sweep:
        sweep = clip.read_sweep(number)
        odd = {
            0: Sweep(points=np.zeros((0, 3), np.float32)),
            1: replace(sweep, labels=sweep.labels[:-1]),
            2: replace(sweep, labels=None),
        }
        return odd.get(number, sweep)

    clips = [clip.with_lidar(read=read), labeled_clip("b")]
    written = write_points(clips, tmp_path / "out", OPTIONS, labeled=True)
    assert set(samples(tmp_path / "out")) == {"a_000003", "a_000004", "b_000000", "b_000001", "b_000002"}
    assert written.without_labels == read_document(tmp_path / "out")["without_labels"] == 1
    problems = {
        row["sweep"]: row["problem"] for row in json.loads((tmp_path / "out" / "report.json").read_text())["left_out"]
    }
    assert set(problems) == {"a_000000", "a_000001"}
    assert "0 points" in problems["a_000000"]
    assert "45 points" in problems["a_000001"]
    again = write_points(clips, tmp_path / "out", OPTIONS, labeled=True)
    assert again.without_labels == 1
    with pytest.raises(DataError, match="2 sweeps cannot be used"):
        write_points(clips, tmp_path / "strict", replace(OPTIONS, bad_budget=0.0), labeled=True)


def test_a_real_sweep_keeps_its_labels(test_data: Path, tmp_path: Path):
    clips = open_clips(test_data / "semantickitti")
    write_points(clips, tmp_path / "out", PrepareOptions(split=(1,)), labeled=True)
    (sweep,) = samples(tmp_path / "out").values()
    folder = test_data / "semantickitti" / "dataset" / "sequences" / "08"
    labels = np.fromfile(folder / "labels" / "000000.label", np.uint32) & 0xFFFF
    recorded = np.fromfile(folder / "velodyne" / "000000.bin", np.float32).reshape(-1, 4)
    assert sweep.meta.dataset == "semantickitti"
    np.testing.assert_array_equal(np.bincount(sweep.values["labels"]), np.bincount(labels))
    np.testing.assert_array_equal(np.sort(sweep.values["intensity"]), np.sort(recorded[:, 3]))


def test_unknown_poses_are_none():
    clip = labeled_clip("a")
    assert sweep_pose(clip.with_lidar(world_SE3_lidar=None).lidar, 0) is None
    poses = clip.world_SE3_lidar.copy()
    poses[1] = np.nan
    lidar = clip.with_lidar(world_SE3_lidar=poses).lidar
    assert sweep_pose(lidar, 1) is None
    assert sweep_pose(lidar, 2) is not None
