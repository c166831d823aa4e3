from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.metrics.generation import GenerationProtocol, GenerationScores
from tests.metrics.test_bev import cloud


class Rows:
    """Describes a range map by the mean of each row."""

    name = "mean of rows"

    def __call__(self, range_m: np.ndarray) -> np.ndarray:
        return range_m.mean(2)


def scores(noise_m: float, samples: int = 12, features: object = None, first: int = 0) -> GenerationScores:
    made = GenerationScores(GenerationProtocol(resamplings=40), features)
    for number in range(first, first + samples):
        rng = np.random.default_rng(number)
        recorded = rng.uniform(6, 60, (4, 64)) * (rng.random((4, 64)) < 0.8)
        generated = np.maximum(recorded + noise_m * rng.normal(size=recorded.shape), 0)
        generated[rng.random((4, 64)) < 0.02 * noise_m] = 0
        angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        points = [np.stack([r * np.cos(angle), r * np.sin(angle), 0.01 * r], -1)[r > 0] for r in (recorded, generated)]
        made.add(f"clip {number // 3}", recorded, generated, *points)
    return made


def test_the_table_has_every_distance_with_interval_count_and_protocol():
    table = {row.name: row for row in scores(1.0, features=Rows()).result()}
    assert set(table) == {
        "chamfer_mean_m", "chamfer_median_m", "chamfer_best_m", "chamfer_squared_mean_m2", "jsd", "mmd",
        "ray_drop_precision", "ray_drop_recall", "ray_drop_f1", "ray_drop_iou", "frechet_range_distance",
    }  # fmt: skip
    for row in table.values():
        assert row.low <= row.value <= row.high, row
        assert row.n == 12
        assert "40 draws of clips" in row.protocol.settings["interval"]
    assert table["chamfer_best_m"].value < table["chamfer_median_m"].value
    assert table["jsd"].protocol.settings["side_m"] == 160.0
    assert table["mmd"].protocol.settings["bandwidth"] == 0.5
    assert table["chamfer_mean_m"].protocol.settings["window_m"] == [5.0, 65.0]
    assert table["frechet_range_distance"].protocol.settings["features"] == "mean of rows"
    assert len({row.protocol.hash for row in table.values()}) == 5


def test_recordings_against_themselves_are_at_zero_and_noise_moves_them_away():
    same, near, far = ({row.name: row.value for row in scores(noise, features=Rows()).result()} for noise in (0, 1, 8))
    for name, value in same.items():
        if name.startswith("ray_drop"):
            assert value == 1.0
            assert value > near[name] > far[name]
        else:
            assert value == pytest.approx(0, abs=1e-9), name
            assert value < near[name] < far[name], name


def test_chamfer_rows_are_the_mean_median_and_best_of_all_samples():
    from cosmos_lidar.metrics.chamfer import chamfer_distance

    made = GenerationScores(GenerationProtocol(resamplings=10))
    values = []
    for seed in range(5):
        recorded, generated = cloud(seed), cloud(seed + 100)
        made.add(str(seed), np.ones((1, 1)), np.ones((1, 1)), recorded, generated)
        values.append(chamfer_distance(recorded, generated).chamfer_m)
    found = {row.name: row.value for row in made.result()}
    assert found["chamfer_mean_m"] == pytest.approx(np.mean(values))
    assert found["chamfer_median_m"] == pytest.approx(np.median(values))
    assert found["chamfer_best_m"] == min(values)


def test_processes_are_joined_and_different_protocols_are_not():
    whole, first, second = scores(1.0), scores(1.0, samples=5), scores(1.0, samples=7, first=5)
    first.merge(second)
    assert first.result() == whole.result()
    with pytest.raises(DataError, match="different protocols or features"):
        whole.merge(GenerationScores())
    with pytest.raises(DataError, match="different protocols or features"):
        whole.merge(scores(1.0, features=Rows()))


def test_a_generator_of_nothing_is_reported_and_not_a_failure():
    made = GenerationScores(GenerationProtocol(resamplings=10))
    for clip in ("a", "b"):
        made.add(clip, np.ones((2, 3)), np.zeros((2, 3)), cloud(0), np.zeros((0, 3)))
    table = {row.name: row for row in made.result()}
    assert math.isnan(table["chamfer_mean_m"].value)
    assert table["chamfer_mean_m"].n == 0
    assert math.isnan(table["jsd"].value)
    assert table["mmd"].value > 0
    assert table["ray_drop_recall"].value == 0


def test_wrong_input_names_the_clip():
    made = GenerationScores()
    with pytest.raises(DataError, match="no samples"):
        made.result()
    with pytest.raises(DataError, match=r"range maps of \(2, 3\) and \(2, 4\) \[clip drive 7\]"):
        made.add("drive 7", np.ones((2, 3)), np.ones((2, 4)), cloud(0), cloud(1))
    with pytest.raises(DataError, match=r"points of shape \(4, 2\) \[clip drive 7\]"):
        made.add("drive 7", np.ones((2, 3)), np.ones((2, 3)), cloud(0), np.zeros((4, 2)))
    assert len(made) == 0


def test_one_clip_has_no_interval():
    row = scores(1.0, samples=3).result()[0]
    assert row.value > 0
    assert math.isnan(row.low)
    assert math.isnan(row.high)


def test_real_sweeps_are_nearer_to_their_noisy_selves_than_to_each_other(test_data: Path):
    files = sorted((test_data / "kitti_velodyne" / "velodyne").glob("*.bin"))
    if len(files) < 4:
        pytest.skip("fewer than four sweeps in kitti_velodyne")
    sweeps = [np.fromfile(file, np.float32).reshape(-1, 4)[::20, :3] for file in files]
    noisy = [sweep + np.random.default_rng(0).normal(0, 0.05, sweep.shape) for sweep in sweeps]
    found = []
    for made in (noisy, sweeps[1:] + sweeps[:1]):
        table = GenerationScores(GenerationProtocol(resamplings=10))
        for file, recorded, generated in zip(files, sweeps, made, strict=True):
            table.add(file.stem, np.ones((1, 1)), np.ones((1, 1)), recorded, generated)
        found.append({row.name: row.value for row in table.result()})
    assert found[0]["chamfer_mean_m"] < 0.2 < 0.5 < found[1]["chamfer_mean_m"]
    assert found[1]["jsd"] == pytest.approx(0, abs=1e-6)  # the same set in another order: these two see sets, not pairs
    assert found[1]["mmd"] == pytest.approx(0, abs=1e-12)
    assert found[0]["jsd"] > 0.01
