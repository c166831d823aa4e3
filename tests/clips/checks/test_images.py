from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.errors import DataError


@pytest.fixture
def with_camera(drive):
    (name, camera), *_ = drive.cameras.items()
    return lambda **changes: replace(drive, cameras={name: replace(camera, **changes)})


def test_good_images(drive, found):
    assert found("images", drive) == []


def test_none_unreadable_small_and_blank(with_camera, found):
    (one,) = found("images", with_camera(timestamps_us=np.zeros(0, np.int64)))
    assert (one.kind, one.severity) == ("images.none", "error")

    def refuse(index: int) -> np.ndarray:
        raise DataError("damaged", file="a.jpg", key="SOF")

    (one,) = found("images", with_camera(read=refuse))
    assert (one.kind, one.file, one.frame, one.evidence) == ("images.unreadable", "a.jpg", 0, {"key": "SOF"})
    small, blank = found("images", with_camera(read=lambda index: np.full((90, 160, 3), 7, np.uint8)))
    assert (small.kind, small.severity) == ("images.size", "error")
    assert small.evidence == {"image": [160, 90], "calibration": [320, 180]}
    assert (blank.kind, blank.severity, blank.evidence) == ("images.blank", "warning", {"deviation": 0.0})
