"""Parts of image features in samples of points: read back, and refused where they do not fit."""

from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.image_features import SweepFeatures
from cosmos_lidar.errors import DataError
from cosmos_lidar.shards.latents import array_bytes
from cosmos_lidar.shards.point_images import PLACES, image_channels, map_part, pack_image_features, read_image_features


def features() -> SweepFeatures:
    maps = [np.arange(24, dtype=np.float16).reshape(2, 3, 4), np.ones((5, 1, 4), np.float16)]
    return SweepFeatures(maps, np.array([[0, 0.5, 0.25], [-1, -1, -1], [1, 0, 1]], np.float32))


def test_read_back() -> None:
    parts = pack_image_features(features())
    assert list(parts) == ["image_places.npy", "image_features0.npy", "image_features1.npy"]
    found = read_image_features(parts, 3)
    assert found is not None
    assert np.array_equal(found.places, features().places)
    assert all(np.array_equal(a, b) for a, b in zip(found.maps, features().maps, strict=True))
    assert image_channels(parts) == 4
    assert read_image_features({}, 3) is None
    assert image_channels({}) is None


@pytest.mark.parametrize(
    ("part", "array", "problem"),
    [
        (map_part(1), np.ones((5, 1, 3), np.float16), "of one D"),
        (map_part(0), np.ones((5, 4), np.float16), "maps"),
        (map_part(0), np.ones((5, 1, 4), np.int32), "floats"),
        (PLACES, np.zeros((2, 3), np.float32), r"finite floats \(3, 3\)"),
        (PLACES, np.full((3, 3), np.nan, np.float32), "finite"),
        (PLACES, np.full((3, 3), 2, np.float32), "-1 to 1"),
    ],
)
def test_parts_that_do_not_fit(part: str, array: np.ndarray, problem: str) -> None:
    parts = {**pack_image_features(features()), part: array_bytes(array)}
    with pytest.raises(DataError, match=problem):
        read_image_features(parts, 3)
    with pytest.raises(DataError, match="image_features0"):
        read_image_features({PLACES: parts[PLACES]}, 3)
    with pytest.raises(DataError, match=part):
        read_image_features({**parts, part: b"broken"}, 3)
    assert image_channels({map_part(0): b"broken"}) is None
