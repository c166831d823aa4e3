"""Stamps, poses and facts beside the sweeps of a folder, and where times come from without them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips.readers.folder.beside import read_beside
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import uniform_sensor

START_US = 1_700_000_000_000_000
SENSOR = uniform_sensor(4, 16, name="small")


def sweeps(folder: Path, *names: str) -> tuple[Path, ...]:
    return tuple(folder / f"{name}.ply" for name in names)


def test_stamps_ends_references_poses_and_facts(tmp_path) -> None:
    rows = [f"{START_US + 100_000 * k},{START_US + 100_000 * k + 60_000},{START_US + 100_000 * k + 7}" for k in (0, 1)]
    (tmp_path / "timestamps.csv").write_text("\n".join(["timestamp_us,end_us,reference_us", *rows]))
    poses = [f"{START_US + 200_000 * k},{2 * k},0,0,0,0,0,1" for k in (0, 1)]
    (tmp_path / "poses.csv").write_text("\n".join(["timestamp_us,tx,ty,tz,qx,qy,qz,qw", *poses]))
    facts = {"name": "roof", "motion_compensated": True}
    (tmp_path / "lidar.json").write_text(json.dumps(facts))
    files = sweeps(tmp_path, "a", "b")
    there = read_beside(tmp_path, files, SENSOR, "c")
    assert (there.timestamps_us - START_US).tolist() == [[0, 60_000], [100_000, 160_000]]
    assert np.allclose(there.world_SE3_lidar[..., 0, 3], [[0, 0.6], [1.0, 1.6]])
    assert there.notes == ("times of timestamps.csv: us, as stated",)
    lidar = there.lidar(SENSOR, files, lambda index: None)
    assert (lidar.name, lidar.frame_ids, lidar.motion_compensated) == ("roof", ("a", "b"), True)
    assert (lidar.reference_us - START_US).tolist() == [7, 100_007]


def test_a_sweep_alone_takes_nothing_from_beside_it(tmp_path) -> None:
    (tmp_path / "timestamps.csv").write_text("timestamp_us\n1\n2\n")
    (tmp_path / "lidar.json").write_text('{"name": "roof"}')
    there = read_beside(tmp_path, sweeps(tmp_path, "000003"), SENSOR, "c", alone=True)
    assert there.timestamps_us.tolist() == [[300_000, 400_000]]
    assert (there.name, there.world_SE3_lidar) == ("lidar", None)
    assert there.notes == ("no times: frame numbers at the sensor's rate", "no poses")


def test_references_count_for_compensated_points_alone(tmp_path) -> None:
    (tmp_path / "timestamps.csv").write_text("timestamp_us,reference_us\n1000000,1000500\n")
    files = sweeps(tmp_path, "a")
    assert read_beside(tmp_path, files, SENSOR, "c").lidar(SENSOR, files, lambda index: None).reference_us is None


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("timestamp_us,end_us\n1000000,1100000\n1100000,1100000\n", "ends before it starts.*row 2"),
        ("timestamp_us\n1000000\n1000000\n", "time goes from 1000000 to 1000000 us.*row 2"),
        ("timestamp_us\n1000000\n", "1 rows for 2 sweeps"),
    ],
)
def test_stamps_that_cannot_be_are_refused(tmp_path, table, problem) -> None:
    (tmp_path / "timestamps.csv").write_text(table)
    with pytest.raises(DataError, match=problem):
        read_beside(tmp_path, sweeps(tmp_path, "a", "b"), SENSOR, "c")
