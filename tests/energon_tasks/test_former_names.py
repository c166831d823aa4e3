"""Modules and names that scripts used before they were renamed still lead to the same objects."""

from __future__ import annotations

import pytest

pytest.importorskip("megatron.energon")

from cosmos_lidar.shards import plan
from energon_tasks import image_to_lidar, lidar, sweeps, video, videos, views


def test_former_modules_hold_the_same_objects() -> None:
    assert lidar.lidar_loader is sweeps.lidar_loader
    assert lidar.LidarTaskEncoder is sweeps.LidarTaskEncoder
    assert lidar.choose_frames is sweeps.choose_frames
    assert (lidar.LidarBatch, lidar.LidarPicture) == (sweeps.LidarBatch, sweeps.LidarPicture)
    assert (lidar.FRAME_MODES, lidar.CROPS) == (sweeps.FRAME_MODES, sweeps.CROPS)
    assert video.video_loader is videos.video_loader
    assert (video.Window, video.choose_frames, video.crop) == (videos.Window, videos.choose_frames, videos.crop)
    assert image_to_lidar.views_loader is views.views_loader
    assert image_to_lidar.ViewsBatch is views.ViewsBatch


def test_former_names_of_classes() -> None:
    assert lidar.LidarRun is sweeps.SweepSample
    assert plan.Run is plan.FrameSpan
