"""Sweeps of PhysicalAI-AV: the vehicle cut away, two returns of a pixel, broken clouds and attributes."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest

from cosmos_lidar.clips.readers.physicalai_av.sweeps import CLOUD, DracoSweeps
from cosmos_lidar.clips.spans import FileSpan
from cosmos_lidar.clips.sweep import sweep_problems, to_points
from cosmos_lidar.errors import DataError
from tests.clips.readers.physicalai_av.recording import FIRST_US, STEP_M, cloud, draco, pq, table
from tests.clips.readers.synthetic import EGO_SE3_LIDAR, sensor

BOX = np.array([[-1.55, -1.55, -0.5], [4.35, 1.55, 2.0]])


@pytest.fixture
def sweeps(tmp_path):
    """Return a function from clouds to what reads them."""

    def write(*clouds: bytes, **changes: object) -> DracoSweeps:
        path = tmp_path / "spins.parquet"
        pq.write_table(table([{CLOUD: one} for one in clouds]), path)
        starts = FIRST_US + 100_000 * np.arange(len(clouds))
        given = {"shape": sensor().shape, "ego_SE3_lidar": EGO_SE3_LIDAR, "box": BOX, **changes}
        return DracoSweeps("clip", FileSpan(path), starts, **given)

    return write


def returns(points: list[list[float]], elements: list[tuple[int, int]]) -> dict[str, np.ndarray]:
    count = len(points)
    return {
        "points": np.array(points, np.float32),
        "intensity": np.arange(count, dtype=np.uint8)[:, None] + 10,
        "timestamp": np.full((count, 1), FIRST_US + 7, np.uint32),
        "model_element": np.array(elements, np.uint16),
    }


def test_returns_of_the_vehicle_are_counted_and_left_out(sweeps):
    # Lidar axes: x is to the left of the vehicle, its middle 1.1 m ahead of the axle, 0.2 m to the left, 2 m up.
    on_hood, beside, above = [-0.2, -2.0, -1.2], [1.5, 0.0, -1.5], [0.0, 0.0, 0.5]
    sweep = sweeps(draco(returns([on_hood, beside, above], [(0, 0), (1, 1), (2, 2)])))(0)
    assert sweep.without_return == 1
    assert np.argwhere(sweep.range_m).tolist() == [[1, 1], [2, 2]]
    assert np.allclose(sweep.points, [beside, above], atol=STEP_M)
    assert sweep.intensity[[1, 2], [1, 2]].tolist() == [11, 12]
    assert sweeps(draco(returns([on_hood], [(0, 0)])), box=None)(0).range_m[0, 0] > 0
    with pytest.raises(DataError, match="no return outside the vehicle among 1 points"):
        sweeps(draco(returns([on_hood], [(0, 0)])))(0)


def test_two_returns_of_a_pixel_are_both_kept_the_nearer_first(sweeps):
    points = [[20.0, 0, 0], [0, 30.0, 0], [10.0, 0, 0]]
    sweep = sweeps(draco(returns(points, [(2, 5), (2, 6), (2, 5)])))(0)
    assert sweep.range_m[2, 5:7].tolist() == pytest.approx([10, 30], abs=STEP_M)
    assert sweep.second_return.range_m[2, 5:7].tolist() == pytest.approx([20, 0], abs=STEP_M)
    assert (sweep.intensity[2, 5], sweep.second_return.intensity[2, 5]) == (12, 10)
    assert sweep_problems(sweep, sensor()) == []
    flat = to_points(sweep, sensor())
    assert sorted(flat.points[:, 0].round().tolist()) == [0, 10, 20]
    assert flat.returns.tolist() == [1, 1, 2]


def test_more_returns_than_two_stay_points(sweeps):
    points = [[20.0, 0, 0], [15.0, 0, 0], [10.0, 0, 0]]
    sweep = sweeps(draco(returns(points, [(2, 5)] * 3)))(0)
    assert (sweep.range_m, sweep.ring.tolist(), sweep.time_us.tolist()) == (None, [2, 2, 2], [7, 7, 7])
    assert sweep_problems(sweep) == []


def test_clouds_in_one_row_group_are_read_in_any_order(sweeps):
    read = sweeps(draco(cloud(0)), draco(cloud(1)), draco(cloud(2)))
    for index in (2, 0, 1):
        assert len(read(index).points) == len(cloud(index)["points"])


def test_broken_clouds_are_named(sweeps):
    good = draco(cloud(0))
    for broken in (b"", b"DRACO", good[: len(good) // 2], b"PK" + good, good[:7] + b"\x01" + good[8:]):
        with pytest.raises(DataError) as caught:
            sweeps(broken)(0)
        assert caught.value.clip == "clip"
        assert caught.value.file.name == "spins.parquet"
    rng = np.random.default_rng(0)
    for _ in range(60):
        wreck = bytearray(good)
        for place in rng.integers(5, min(len(good), 400), 3):
            wreck[place] = rng.integers(256)
        with suppress(DataError):
            assert sweep_problems(sweeps(bytes(wreck))(0)) == []


@pytest.mark.parametrize(
    ("name", "values", "found"),
    [
        ("model_element", np.full((2, 2), 99, np.uint16), r"element \(99, 99\).*model of \(16, 240\)"),
        ("model_element", np.full((2, 1), 1, np.uint16), "row and column per point"),
        ("intensity", np.full((2, 3), 1, np.uint8), "one number per point"),
        ("timestamp", np.full((2, 1), 1_000_000_000, np.uint32), "after the start of the sweep.*spin_start_timestamp"),
    ],
)
def test_attributes_of_other_shapes_are_named(sweeps, name, values, found):
    wrong = {**returns([[9.0, 0, 0], [9, 1, 0]], [(1, 1), (1, 2)]), name: values}
    with pytest.raises(DataError, match=f"{found}") as caught:
        sweeps(draco(wrong))(0)
    assert caught.value.key == f"{name}, row 0"
