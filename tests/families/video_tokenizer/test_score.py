"""Scores of reconstructed videos, frame by frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cosmos_lidar.families.video_tokenizer.score import VideoScores
from cosmos_lidar.metrics.video_features import VideoDistance


def frames(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 16, 24, 3), np.uint8)


class Means:
    name = "means"

    def __call__(self, video: torch.Tensor) -> torch.Tensor:
        self.shape = tuple(video.shape)
        return video.mean((2, 3, 4))


def test_psnr_of_the_video_is_that_of_the_pooled_error() -> None:
    source, made = frames(4, 0), frames(4, 1)
    made[0] = np.clip(source[0].astype(int) + 1, 0, 255)  # one frame that is nearly perfect
    scores = VideoScores()
    for frame, image in zip(source, made, strict=True):
        scores.add(frame, image)
    errors = ((source.astype(float) - made) ** 2).mean((1, 2, 3))
    result = scores.result()
    assert list(result) == ["psnr", "psnr_video", "ssim"]
    assert result["psnr"] == pytest.approx((10 * np.log10(255**2 / errors)).mean(), rel=1e-5)
    assert result["psnr_video"] == pytest.approx(10 * np.log10(255**2 / errors.mean()), rel=1e-5)
    assert result["psnr_video"] < result["psnr"] - 5


def test_clips_of_a_video_follow_each_other_and_the_rest_is_left_out() -> None:
    means = Means()
    distance = VideoDistance(means)
    for seed in (0, 2):  # clips do not reach from one video into the next
        scores = VideoScores(distance=distance, clip_frames=3)
        for frame, image in zip(frames(8, seed), frames(8, seed + 1), strict=True):
            scores.add(frame, image)
    assert distance.made.count == distance.recorded.count == 4
    assert means.shape == (1, 3, 3, 16, 24)
    wanted = np.stack([frames(8, seed)[i : i + 3].mean((0, 1, 2)) for seed in (0, 2) for i in (0, 3)]) / 127.5 - 1
    assert distance.recorded.mean == pytest.approx(wanted.mean(0), abs=1e-6)


def test_lpips_is_a_mean_over_frames() -> None:
    values = iter((0.25, 0.5))
    scores = VideoScores(lpips=lambda ours, theirs: next(values))
    for frame in frames(2, 0):
        scores.add(frame, frame)
    assert scores.result()["lpips"] == 0.375
