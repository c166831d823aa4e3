import math

import numpy as np
import pytest
import torch

from cosmos_lidar.metrics.lidar import RangeErrors, RangeProtocol


def _random_pair(seed: int, shape: tuple[int, ...] = (3, 16, 40)) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    reference = generator.uniform(0.0, 110.0, shape).astype(np.float32)
    reference[generator.random(shape) < 0.2] = 0.0
    return reference, np.clip(reference + generator.normal(0.0, 2.0, shape), 5.0, 100.0).astype(np.float32)


def _direct(reference: np.ndarray, decoded: np.ndarray) -> tuple[float, float, float]:
    valid = (reference > 5.1) & (reference < 99.9)
    measured = np.clip(reference, 5, 100).astype(np.float64)[valid]
    difference = measured - decoded.astype(np.float64)[valid]
    relative = np.abs(difference) / (measured + 1e-6)
    return math.sqrt(np.mean(difference**2)), np.mean(np.abs(difference)), np.mean(relative)


def test_published_vector():
    errors = RangeErrors()
    errors.add(np.float32([10, 20, 40, 80]), np.float32([10.5, 19, 41, 78]))
    result = errors.result().published
    assert result.pixels == 4
    assert result.rmse_m == pytest.approx(1.25, abs=1e-12)
    assert result.mae_m == pytest.approx(1.125, abs=1e-12)
    assert result.relative == pytest.approx(0.0375, abs=1e-8)


def test_pooled_over_frames_not_averaged():
    reference, decoded = _random_pair(0)
    errors = RangeErrors()
    for frame in range(3):
        errors.add(reference[frame], decoded[frame])
    result = errors.result().published
    assert (result.rmse_m, result.mae_m, result.relative) == pytest.approx(_direct(reference, decoded), rel=1e-12)


def test_margin_is_open_and_drops_are_not_compared():
    errors = RangeErrors()
    errors.add(np.array([0.0, 5.0, 5.1, 5.11, 99.89, 99.9, 104.0]), np.full(7, 50.0))
    assert errors.result().published.pixels == 2


def test_valid_narrows_the_window_and_never_widens_it():
    errors = RangeErrors()
    errors.add(np.array([3.0, 20.0, 30.0, 120.0]), np.full(4, 25.0), valid=np.array([True, False, True, True]))
    assert errors.result().published.pixels == 1
    assert errors.result().published.mae_m == pytest.approx(5.0)


def test_training_callback_needs_both_valid():
    errors = RangeErrors()
    errors.add(np.array([5.3, 20.0, 30.0, 40.0]), np.array([6.0, 5.4, 31.0, 99.6]))
    assert errors.result().published.pixels == 4
    assert errors.result().both_valid.pixels == 1
    assert errors.result().both_valid.mae_m == pytest.approx(1.0)


def test_bands_share_out_the_pixels():
    reference, decoded = _random_pair(1)
    errors = RangeErrors(RangeProtocol(band_edges_m=(5.0, 30.0, 100.0)))
    errors.add(reference, decoded)
    near, far = errors.result().bands
    assert near.errors.pixels + far.errors.pixels == errors.result().published.pixels
    chosen = (reference > 5.1) & (reference < 30)
    assert near.errors.mae_m == pytest.approx(np.abs(reference[chosen] - decoded[chosen]).mean(), rel=1e-5)


def test_ray_drop_counts_by_hand():
    reference = np.array([0.0, 0.0, 0.0, 20.0, 20.0, 3.0, 105.0])
    decoded = np.array([5.2, 5.4, 60.0, 5.1, 20.5, 5.0, 100.0])
    errors = RangeErrors()
    errors.add(reference, decoded)
    drop = errors.result().ray_drop
    assert (drop.dropped, drop.returned) == (3, 2)
    assert drop.precision == pytest.approx(2 / 3)
    assert drop.recall == pytest.approx(2 / 3)
    assert drop.f1 == pytest.approx(2 / 3)


def test_histogram_and_overflow():
    errors = RangeErrors()
    errors.add(np.full(3, 50.0), np.array([50.05, 51.96, 80.0]))
    result = errors.result()
    assert (result.histogram[0], result.histogram[19], sum(result.histogram), result.histogram_overflow) == (1, 1, 2, 1)


def test_merge_equals_one_accumulator_and_states_add():
    pairs = [_random_pair(seed) for seed in range(4)]
    whole, parts = RangeErrors(), [RangeErrors() for _ in pairs]
    for part, (reference, decoded) in zip(parts, pairs, strict=True):
        whole.add(reference, decoded)
        part.add(torch.from_numpy(reference), torch.from_numpy(decoded))
    merged, reduced = RangeErrors(), RangeErrors()
    for part in parts:
        merged.merge(part)
    reduced.load_state(np.sum([part.state() for part in parts], axis=0))
    np.testing.assert_allclose(merged.state(), whole.state(), rtol=1e-12)
    assert reduced.result().published == merged.result().published


def test_merge_refuses_another_protocol():
    with pytest.raises(ValueError, match="protocols differ"):
        RangeErrors().merge(RangeErrors(RangeProtocol(margin_m=0.2)))


def test_shapes_must_match():
    with pytest.raises(ValueError, match=r"shapes differ: \(2, 3\), \(3, 2\)"):
        RangeErrors().add(np.ones((2, 3)), np.ones((3, 2)))


def test_nothing_to_compare_gives_null_in_json():
    errors = RangeErrors()
    errors.add(np.zeros((2, 2)), np.full((2, 2), 5.0))
    document = errors.result().to_dict()
    assert document["published"] == {"pixels": 0, "rmse_m": None, "mae_m": None, "relative": None}
    assert document["ray_drop"]["recall"] == 1.0
