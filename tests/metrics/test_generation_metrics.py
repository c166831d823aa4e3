"""Distances between generated and recorded lidar against their formulas written out, and what any distance must do."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.metrics.bev import BevGrid, KernelMeans, bev_histogram, jensen_shannon, maximum_mean_discrepancy
from cosmos_lidar.metrics.bootstrap import interval_of_draws, mean_difference, resample_clips
from cosmos_lidar.metrics.generation import GenerationProtocol, GenerationScores
from cosmos_lidar.metrics.protocol import Measurement, Protocol, write_measurements
from cosmos_lidar.metrics.range_features import PooledLatents
from cosmos_lidar.metrics.ray_drop import ray_drop_counts, ray_drop_scores


def cloud(seed: int, shift_m: float = 0.0, count: int = 400) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.c_[rng.normal(0, 15, (count, 2)) + [shift_m, 0], rng.normal(0, 1, count)]


def histograms(seeds: range, shift_m: float = 0.0) -> np.ndarray:
    return np.stack([bev_histogram(cloud(seed, shift_m)) for seed in seeds])


def test_histograms_count_what_is_inside_the_window_and_the_square():
    grid = BevGrid(side_m=40.0, cells=4, near_m=3.0, far_m=70.0)
    points = np.array([[5, 0.1, 0], [5, 0.2, 0], [-15, -15, 2], [2, 1, 0], [60, 0, 0], [3, 0, 0], [0, 12, 69.5]])
    found = bev_histogram(points, grid)
    wanted = np.zeros((4, 4))
    wanted[2, 2], wanted[0, 0] = 2, 1  # 60 m is outside the square; 2.2 m, 3 m and 70.5 m are outside the window
    assert np.array_equal(found, wanted / 3)
    assert bev_histogram(np.zeros((0, 3))).sum() == 0
    with pytest.raises(DataError, match=r"points of shape \(5, 2\).*\(N, 3\)"):
        bev_histogram(np.zeros((5, 2)))
    with pytest.raises(DataError, match="finite"):
        bev_histogram(np.full((5, 3), np.nan))


def test_jensen_shannon_against_scipy_and_its_limits():
    from scipy.spatial.distance import jensenshannon

    p, q = np.random.default_rng(0).random((2, 20))
    p[3] = q[5] = 0.0
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q), rel=1e-12)
    assert jensen_shannon(q, p) == jensen_shannon(p, q)
    assert jensen_shannon(p, 7 * p) == pytest.approx(0, abs=1e-8)
    assert jensen_shannon(np.array([1.0, 0]), np.array([0, 2.0])) == pytest.approx(math.sqrt(math.log(2)))
    with pytest.raises(DataError, match="distribution of nothing"):
        jensen_shannon(p, np.zeros(20))
    with pytest.raises(DataError, match=r"distributions of \(20,\) and \(19,\)"):
        jensen_shannon(p, q[1:])


def kernel_mean(first: np.ndarray, second: np.ndarray, bandwidth: float) -> float:
    """Mean of exp(-|p - q|^2 / (2 sigma^2)) over all pairs, one by one."""
    values = [math.exp(-float(np.sum((p - q) ** 2)) / (2 * bandwidth**2)) for p in first for q in second]
    return sum(values) / len(values)


@pytest.mark.parametrize("bandwidth", [0.5, 0.05])
def test_mmd_against_loops(bandwidth: float):
    first, second = histograms(range(4)), histograms(range(10, 15), shift_m=6.0)
    wanted = (kernel_mean(first, first, bandwidth) + kernel_mean(second, second, bandwidth)
              - 2 * kernel_mean(first, second, bandwidth))  # fmt: skip
    found = maximum_mean_discrepancy(first, second, bandwidth)
    assert found == pytest.approx(wanted, rel=1e-9)
    assert maximum_mean_discrepancy(second, first, bandwidth) == pytest.approx(found, rel=1e-12)
    assert maximum_mean_discrepancy(first, first[::-1], bandwidth) == pytest.approx(0, abs=1e-16)
    times = np.array([2, 0, 1, 1]), np.array([0, 1, 3, 1, 0])
    repeated = (np.repeat(x, n, axis=0) for x, n in zip((first, second), times, strict=True))
    drawn = KernelMeans(first, second, bandwidth).mmd(*times)
    assert drawn == pytest.approx(maximum_mean_discrepancy(*repeated, bandwidth), rel=1e-9)


def test_at_the_published_bandwidth_mmd_is_a_distance_of_mean_histograms():
    """What the module says: histograms of 10,000 cells are far nearer to each other than the bandwidth."""
    first, second = histograms(range(20)), histograms(range(20, 40), shift_m=4.0)
    parabola = np.sum((first.mean(0) - second.mean(0)) ** 2) / 0.5**2
    assert maximum_mean_discrepancy(first, second) == pytest.approx(parabola, rel=0.02)


def test_both_fall_with_the_number_of_samples_and_grow_with_the_difference():
    for distance in (lambda a, b: jensen_shannon(a.sum(0), b.sum(0)), maximum_mean_discrepancy):
        few, many = (distance(histograms(range(n)), histograms(range(100, 100 + n))) for n in (4, 40))
        near, far = (distance(histograms(range(40)), histograms(range(100, 140), shift)) for shift in (3.0, 9.0))
        assert 0 < many < 0.6 * few  # the bias of small sets
        assert many < near < far


def test_ray_drop_by_hand():
    recorded = np.array([[10.0, 20.0, 0.0, 0.0], [30.0, 0.0, 5.0, 8.0]])
    made = np.array([[11.0, 0.0, 7.0, 0.0], [29.0, 0.0, 6.0, 0.0]])
    counts = ray_drop_counts(recorded, made)
    assert counts.tolist() == [3, 1, 2]
    found = ray_drop_scores(counts)
    assert (found.precision, found.recall) == (3 / 4, 3 / 5)
    assert found.f1 == pytest.approx(2 * 0.75 * 0.6 / 1.35)
    assert found.iou == 3 / 6
    assert ray_drop_scores(ray_drop_counts(recorded, recorded)) == ray_drop_scores(np.array([5.0, 0, 0]))
    assert math.isnan(ray_drop_scores(np.zeros(3)).precision)
    with pytest.raises(DataError, match=r"range maps of \(2, 4\) and \(2, 3\)"):
        ray_drop_counts(recorded, made[:, :3])


def test_whole_clips_are_drawn():
    clips = ["b", "a", "b", "c"]
    draws = resample_clips(clips, samples=500, seed=1)
    assert draws.shape == (500, 4)
    assert (draws[:, 0] == draws[:, 2]).all()
    assert (draws[:, [0, 1, 3]].sum(1) == 3).all()
    assert draws.mean(0) == pytest.approx(np.ones(4), abs=0.15)
    assert np.array_equal(draws, resample_clips(clips, samples=500, seed=1))
    assert resample_clips(["a", "a"]).shape == (0, 2)


def test_intervals_are_put_around_a_distance_and_not_below_zero():
    values = np.linspace(1.0, 3.0, 201)
    plain, centred = interval_of_draws(values), interval_of_draws(values, around=0.5)
    assert (plain.low, plain.high) == pytest.approx((1.05, 2.95))
    assert (centred.low, centred.high) == pytest.approx((0.0, 1.45))
    assert math.isnan(interval_of_draws([]).low)
    assert interval_of_draws([1.0, math.nan, 1.0]) == interval_of_draws([1.0])


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


def test_latents_are_averaged_over_a_grid():
    features = PooledLatents(lambda x: torch.stack([x, 2 * x], 1), weights="0123456789abcdef", rows=2, columns=4)
    range_m = np.arange(2 * 4 * 8, dtype=np.float32).reshape(2, 4, 8)
    found = features(range_m)
    blocks = range_m.reshape(2, 2, 2, 4, 2).mean((2, 4)).reshape(2, 8)
    assert np.allclose(found, np.concatenate([blocks, 2 * blocks], 1))
    assert features.name == "tokenizer latents, mean over 2 x 4 parts, weights 0123456789ab"
    with pytest.raises(DataError, match=r"latents of 4 x 3.*at least 2 x 4"):
        features(range_m[:, :, :3])
    with pytest.raises(DataError, match=r"range maps of \(4, 8\)"):
        features(range_m[0])


def test_the_hash_changes_with_everything_that_a_number_depends_on():
    first = Protocol("mmd", "how", {"bandwidth": 0.5, "side_m": 160.0})
    assert first.hash == Protocol("mmd", "how", {"side_m": 160.0, "bandwidth": 0.5}).hash
    assert len(first.hash) == 12
    others = [
        Protocol("jsd", "how", first.settings),
        Protocol("mmd", "otherwise", first.settings),
        Protocol("mmd", "how", {"bandwidth": 0.6, "side_m": 160.0}),
    ]
    assert len({first.hash, *(other.hash for other in others)}) == 4


def test_numbers_are_written_beside_the_hash_of_their_protocol(tmp_path: Path):
    protocol = Protocol("mmd", "how", {"bandwidth": 0.5})
    rows = [Measurement("mmd", 1.25, 1.0, 1.5, 7, protocol), Measurement("rfvd", 2.0, math.nan, math.nan, 7, protocol)]
    files = write_measurements(tmp_path / "new", rows)
    assert [file.name for file in files] == ["metrics.json", "metrics.csv"]
    content = json.loads(files[0].read_text())
    assert content["rows"][0] == {"name": "mmd", "value": 1.25, "low": 1.0, "high": 1.5, "n": 7,
                                  "protocol": protocol.hash}  # fmt: skip
    assert content["rows"][1]["low"] is None
    assert content["protocols"] == {
        protocol.hash: {"metric": "mmd", "definition": "how", "settings": {"bandwidth": 0.5}}
    }
    with files[1].open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [row["value"] for row in table] == ["1.25", "2.0"]
    assert table[1]["low"] == ""
    assert table[0]["protocol"] == protocol.hash


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


def test_differences_of_the_same_samples_are_narrower_than_their_means():
    """Drives that differ by far more than two ways of making them: the difference is certain, the means are not."""
    rng = np.random.default_rng(0)
    hard = rng.uniform(0, 10, 40)
    clips, first = [f"drive_{i // 2}" for i in range(40)], hard + rng.normal(0, 0.1, 40)
    second = hard + 0.5 + rng.normal(0, 0.1, 40)
    value, interval = mean_difference(clips, first, second)
    assert value == pytest.approx(np.mean(first - second))
    assert interval.low < value < interval.high < -0.4
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 0.14 / np.sqrt(40), rel=0.4)
    gap = np.r_[first[:-2], math.nan, math.nan]
    assert mean_difference(clips, gap, second)[0] == pytest.approx(np.mean(first[:-2] - second[:-2]))
    assert math.isnan(mean_difference(["one"] * 40, first, second)[1].low)
    assert math.isnan(mean_difference(clips, [math.nan] * 40, second)[0])
