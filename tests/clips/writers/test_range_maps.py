"""Sweeps as range images: native ones as they are, points in the pixels that the projection gives them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cosmos_lidar.clips import Sweep
from cosmos_lidar.clips.writers._contract import VALUES, Losses
from cosmos_lidar.clips.writers._range_maps import as_range_image


def test_range_images_stay_and_lose_only_rings_that_are_rows(drive) -> None:
    losses = Losses(drive, frozenset(VALUES))
    native = as_range_image(drive.lidar, 1, losses)
    assert native.range_m is drive.lidar.read(1).range_m
    assert native.ring is None
    rows = np.arange(16, dtype=np.uint16)[:, None]

    def read(index: int) -> Sweep:
        return replace(drive.lidar.read(index), ring=np.broadcast_to(rows + np.uint16(1), native.range_m.shape))

    assert as_range_image(drive.with_lidar(read=read).lidar, 1, losses).ring is not None
    assert losses.found == {}


def test_points_come_into_their_pixels_with_their_values(drive) -> None:
    def read(index: int) -> Sweep:
        cloud = drive.lidar.cloud(index)
        order = np.random.default_rng(index).permutation(len(cloud.points))
        values = {name: getattr(cloud, name)[order] for name in ("points", "intensity", "labels", "time_us", "ring")}
        return Sweep(**values)

    points = drive.with_lidar(read=read).lidar
    losses = Losses(drive, frozenset(VALUES) - {"points"})
    made, native = as_range_image(points, 1, losses), drive.lidar.read(1)
    assert np.abs(made.range_m - native.range_m).max() < 2e-5
    seen = native.range_m > 0
    assert np.array_equal(made.labels[seen], native.labels[seen])
    assert np.array_equal(made.intensity[seen], native.intensity[seen])
    assert np.array_equal(made.time_us[seen], native.time_us[seen])
    assert not made.labels[~seen].any()
    assert made.ring is None  # they are the rows
    assert set(losses.found) == {"points"}


def test_of_compensated_points_the_first_returns_count(drive, compensated) -> None:
    losses = Losses(compensated, frozenset(VALUES))
    made = as_range_image(compensated.lidar, 1, losses)
    assert np.array_equal(made.range_m, compensated.range_map(1))
    assert losses.found == {"returns": "second returns of points are left out"}
