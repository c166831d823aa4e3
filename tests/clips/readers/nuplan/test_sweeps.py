from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.readers.nuplan.sweeps import MergedSweeps, read_rig
from cosmos_lidar.errors import DataError
from tests.clips.readers.nuplan.logs import MOUNTS, cloud, seen, write_cloud

TIMES = np.array([[0, 50_000]])


def test_the_lidars_of_a_cloud(tmp_path):
    write_cloud(tmp_path / "a.pcd", cloud(0.0))
    rig = read_rig(tmp_path / "a.pcd", np.eye(4), "c")
    assert [(one.name, one.number, one.rings) for one in rig] == [("top", 0, 40), ("side_left", 1, 40)]
    assert np.degrees(rig[0].elevations_rad) == pytest.approx([-25.0, 15.0], abs=0.1)
    for one in rig:
        assert np.abs(one.ego_SE3_lidar[:3, 3] - MOUNTS[one.number][0]).max() < 0.003


def test_points_of_one_lidar_in_its_axes(tmp_path):
    fields = cloud(0.0)
    fields["x"][3] = np.nan
    write_cloud(tmp_path / "a.pcd", fields)
    move = np.eye(4)
    move[:3, :3], move[:3, 3] = [[0, 1, 0], [-1, 0, 0], [0, 0, 1]], [0.5, 0, -1]
    sweep = MergedSweeps("c", (tmp_path / "a.pcd",), 0, move, TIMES)(0)
    expected = np.delete(seen(0, 0.0)[1], 3, 0) @ move[:3, :3].T + move[:3, 3]
    assert np.abs(sweep.points - expected).max() < 1e-4
    assert (len(sweep.ring), len(sweep.intensity), sweep.without_return) == (4799, 4799, 1)
    assert sweep.points.dtype == np.float32


def test_a_cloud_with_other_fields_than_the_others(tmp_path):
    fields = cloud(0.0)
    fields.pop("lidar_info")
    write_cloud(tmp_path / "a.pcd", fields)
    with pytest.raises(DataError, match="fields x, y, z, intensity, ring.*a.pcd, clip c, key lidar_info"):
        MergedSweeps("c", (tmp_path / "a.pcd",), 0, np.eye(4), TIMES)(0)
    assert len(MergedSweeps("c", (tmp_path / "a.pcd",), None, np.eye(4), TIMES)(0).points) == 2 * 4800


@pytest.mark.parametrize("content", [b"", b"# .PCD v.7\nVERSION .7\n"])
def test_broken_clouds(tmp_path, content):
    (tmp_path / "a.pcd").write_bytes(content)
    with pytest.raises(DataError, match="a.pcd, clip c"):
        read_rig(tmp_path / "a.pcd", np.eye(4), "c")


def test_a_cloud_of_no_point(tmp_path):
    write_cloud(tmp_path / "a.pcd", {name: values[:0] for name, values in cloud(0.0).items()})
    with pytest.raises(DataError, match="lidars.*key lidar_info"):
        read_rig(tmp_path / "a.pcd", np.eye(4), "c")
    with pytest.raises(DataError, match="no point in it.*a.pcd, clip c"):
        MergedSweeps("c", (tmp_path / "a.pcd",), 0, np.eye(4), TIMES)(0)
