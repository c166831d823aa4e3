"""Lines of points in a camera: pieces behind it are left out, the others are where the lens has them."""

from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.controls._lines import project_line, segments
from cosmos_lidar.sensors.pinhole import PinholeCamera

LENS = PinholeCamera(50.0, 50.0, 49.5, 24.5, 100, 50)


def test_pieces_in_front_of_the_camera() -> None:
    points = np.array([[0, 1, -5], [0, 1, -0.5], [0, 1, 2.0], [0, 1, 10.0], [0, 1, 50.0]])
    uv = project_line(LENS, points)
    assert np.isnan(uv[:2]).all()
    assert uv[2:, 1] == pytest.approx([49.5, 29.5, 25.5])
    assert [(place, *start) for place, start, _ in segments(uv)] == [(2, 49.5, 49.5), (3, 49.5, 29.5)]


def test_far_beyond_the_image() -> None:
    uv = project_line(LENS, np.array([[1.0, 0, 1], [100.0, 0, 1]]))
    assert np.isfinite(uv[0]).all()
    assert np.isnan(uv[1]).all()
    assert list(segments(uv)) == []
