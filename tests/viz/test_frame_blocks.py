import io

import numpy as np
import pytest
from PIL import Image

from cosmos_lidar.clips import Sweep
from cosmos_lidar.sensors.camera_projection import InImage
from cosmos_lidar.viz.frame_blocks import jpeg, map_png, pack_overlay, pack_points, picks, range_codes
from cosmos_lidar.viz.range_map import range_colors


def cloud(count: int = 500) -> Sweep:
    rng = np.random.default_rng(3)
    return Sweep(
        points=rng.uniform(-60, 60, (count, 3)).astype(np.float32),
        intensity=rng.uniform(0, 80, count).astype(np.float32),
        labels=rng.choice([0, 10, 259], count).astype(np.uint16),
        ring=rng.integers(0, 64, count).astype(np.uint16),
    )


def test_points_come_back_from_their_bytes():
    sweep = cloud()
    about, content = pack_points(sweep, 1000)
    raw = np.frombuffer(content, "<u2", 3 * 500).reshape(-1, 3)
    points = np.array(about["low"]) + raw / 65535.0 * np.array(about["span"])
    assert (about["count"], about["total"]) == (500, 500)
    assert np.abs(points - sweep.points).max() < 0.001  # half a step of 120 m / 65535

    def value(name):
        one = about["values"][name]
        assert one["offset"] % one["bytes"] == 0
        return np.frombuffer(content, f"<u{one['bytes']}", 500, one["offset"])

    assert (value("label") == sweep.labels).all()
    assert (value("ring") == sweep.ring).all()
    top = about["values"]["intensity"]["top"]
    assert top == pytest.approx(np.quantile(sweep.intensity, 0.99))
    assert np.abs(value("intensity") / 255 * top - np.minimum(sweep.intensity, top)).max() <= top / 510 * 1.01


def test_only_recorded_values_and_finite_points_are_packed():
    points = np.array([[1, 2, 3], [np.nan, 0, 0], [4, 5, 6]], np.float32)
    about, content = pack_points(Sweep(points=points), 10)
    assert (about["count"], about["total"], about["values"]) == (2, 3, {})
    assert len(content) == 12
    empty, content = pack_points(Sweep(points=np.zeros((0, 3), np.float32), labels=np.zeros(0, np.uint16)), 10)
    assert (empty["count"], content) == (0, b"")


def test_large_clouds_are_thinned_the_same_way_each_time():
    chosen = picks(10_000, 1000)
    assert len(chosen) == 1000
    assert (np.diff(chosen) > 0).all()
    assert (chosen == picks(10_000, 1000)).all()
    assert len(np.unique(np.diff(chosen))) > 5, "no even step, which would follow rings"
    assert list(picks(4, 10)) == [0, 1, 2, 3]
    assert pack_points(cloud(), 100)[0]["count"] == 100


def test_range_codes_are_logarithmic():
    codes = range_codes(np.array([0.0, np.nan, 0.5, 2.0, np.sqrt(200.0), 100.0, 300.0]))
    assert codes.tolist() == [0, 0, 1, 1, 128, 255, 255]


def test_a_range_map_has_the_colors_of_all_range_maps():
    range_m = np.geomspace(2.0, 100.0, 64 * 16).reshape(16, 64).astype(np.float32)
    range_m[0, 0] = 0.0
    image = np.asarray(Image.open(io.BytesIO(map_png(range_m))).convert("RGB"))
    assert image.shape == (16, 64, 3)
    assert np.abs(image.astype(int) - range_colors(range_m)).max() <= 12  # 254 steps instead of 256


def test_images_are_made_smaller_never_larger():
    photo = np.tile(np.linspace(0, 255, 200).astype(np.uint8)[None, :, None], (100, 1, 3))
    content, width, height = jpeg(photo, 50)
    assert (width, height) == (50, 25) == Image.open(io.BytesIO(content)).size
    assert np.abs(np.asarray(Image.open(io.BytesIO(content)))[12, :, 0].astype(int) - photo[0, 2::4, 0]).max() < 8
    assert jpeg(photo, 960)[1:] == (200, 100)


def test_overlays_hold_visible_points_far_ones_first():
    uv = np.array([[-0.5, -0.5], [99.5, 49.5], [49.5, 24.5], [10.0, 10.0]])
    seen = InImage(uv, np.ones(4), np.ones(4, bool), np.array([True, True, True, False]))
    count, content = pack_overlay(seen, np.array([2.0, 100.0, 14.0, 5.0]), (100, 50), 10)
    assert count == 3
    places = np.frombuffer(content, "<u2", 6).reshape(2, 3)
    assert places.tolist() == [[65535, 32768, 0], [65535, 32768, 0]]
    assert list(content[12:]) == [255, 127, 1]
    assert pack_overlay(seen, np.ones(4), (100, 50), 1)[0] == 1
