"""Names that scripts used before they were renamed still lead to the same objects (modules: tests/test_moved.py)."""

from __future__ import annotations

import pytest

pytest.importorskip("megatron.energon")

from cosmos_lidar.shards import plan
from energon_tasks import sweeps


def test_former_names_of_classes() -> None:
    assert sweeps.LidarRun is sweeps.SweepSample
    assert sweeps.LidarPicture is sweeps.LidarImage
    assert plan.Run is plan.FrameSpan
