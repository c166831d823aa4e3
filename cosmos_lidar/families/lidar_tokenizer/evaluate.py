"""Metrics of a tokenizer over many clips: per clip, pooled over all, and how sure the pooled numbers are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from cosmos_lidar.clips import Clip
from cosmos_lidar.errors import UserError, problem_of
from cosmos_lidar.families.lidar_tokenizer.autoencode import (
    AutoencodeOptions,
    Autoencoder,
    autoencode_clip,
    count_frames,
    full_directions,
    pad_image,
    read_merged,
    to_image,
)
from cosmos_lidar.families.lidar_tokenizer.score import ClipScore
from cosmos_lidar.log import logger
from cosmos_lidar.metrics.backbone_features import BackboneFeatures
from cosmos_lidar.metrics.bootstrap import Interval, bootstrap_over_clips


class Identity(nn.Module):
    """Baseline that gives the image back: what remains is the error of merging, clipping and normalizing alone."""

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        """Return the image."""
        return image

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the image."""
        return latents


class Resize(nn.Module):
    """Baseline that averages 8 x 8 pixels and interpolates between the averages: what no learning gives."""

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        """Return (B, 3, H/8, W/8) averages."""
        return F.avg_pool2d(image, 8)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return (B, 3, H, W), bilinear."""
        return F.interpolate(latents, scale_factor=8, mode="bilinear", align_corners=False)


class MeanImage(nn.Module):
    """Baseline that decodes the same image for every frame: what remains when nothing is known about a frame.

    Args:
        image: (1, 3, H, W), padded as the frames will be.
    """

    def __init__(self, image: torch.Tensor) -> None:
        super().__init__()
        self.image: torch.Tensor
        self.register_buffer("image", image)

    @classmethod
    def of(cls, clips: Sequence[Clip], options: AutoencodeOptions, max_frames: int = -1) -> MeanImage:
        """Average the images of all frames; "no return" counts as the nearest range, as in the images."""
        total, count = torch.zeros(()), 0
        for clip in clips:
            for number in range(count_frames(clip, max_frames)):
                range_m = torch.from_numpy(read_merged(clip, number, options).range_m)
                total = total + to_image(range_m[None], options).double()
                count += 1
        return cls(pad_image((total / count).float(), options.padding)[0])

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        """Return (B, 0): nothing."""
        return image.new_zeros(len(image), 0)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return (B, 3, H, W)."""
        return self.image.expand(len(latents), -1, -1, -1)


def build_baseline(name: str, clips: Sequence[Clip], options: AutoencodeOptions, max_frames: int = -1) -> Autoencoder:
    """Return the baseline ``identity``, ``resize`` or ``mean``; the last one reads all frames of the clips first."""
    if name == "mean":
        return MeanImage.of(clips, options, max_frames)
    return Identity() if name == "identity" else Resize()


@dataclass(frozen=True)
class Evaluation:
    """Metrics per clip and pooled.

    Attributes:
        clips: score by clip id.
        pooled: score of all pixels of all clips.
        intervals: bootstrap intervals over clips of the pooled ``rmse_m``, ``mae_m`` and ``relative``; empty for one.
        skipped: what is wrong with each clip that could not be read, by its id; it is in no number.
    """

    clips: dict[str, ClipScore]
    pooled: ClipScore
    intervals: dict[str, Interval]
    skipped: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return all metrics as plain values at full precision."""
        return {
            "pooled": self.pooled.to_dict(),
            "intervals_95_percent": {name: asdict(interval) for name, interval in self.intervals.items()},
            "clips": {clip_id: score.to_dict() for clip_id, score in self.clips.items()},
        } | ({"skipped": self.skipped} if self.skipped else {})


def evaluate_clips(
    network: Autoencoder,
    clips: Sequence[Clip],
    options: AutoencodeOptions,
    *,
    max_frames: int = -1,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    chamfer: bool = True,
    features: BackboneFeatures | None = None,
    on_frame: Callable[[int], object] = lambda count: None,
) -> Evaluation:
    """Autoencode clips and measure them.

    Args:
        network: module with ``encode`` and ``decode``, already on ``device``.
        clips: all of one sensor.
        options: how maps go through the tokenizer.
        max_frames: first frames of each clip; -1 for all.
        device: where the network is.
        dtype: in which it computes.
        chamfer: also measure point clouds (about 0.3 s per frame of 100,000 points).
        features: of a sparse backbone, for a Frechet distance of recorded and reconstructed clouds.
        on_frame: called with 1 after each frame, for a progress bar.

    Raises:
        UserError: there are no clips, or clips of several sensors, whose errors cannot be pooled.
        DataError: no clip can be read.
    """
    require_one_sensor(clips)
    scores: dict[str, ClipScore] = {}
    skipped: dict[str, str] = {}
    clouds = chamfer or features is not None

    def empty(clip: Clip) -> ClipScore:
        return ClipScore(options, full_directions(clip.sensor, options) if clouds else None, features, chamfer)

    pooled = empty(clips[0])
    for clip in clips:
        score = empty(clip)
        try:
            for frame in autoencode_clip(network, clip, options, max_frames, device, dtype):
                score.add(frame)
                on_frame(1)
        except Exception as error:  # one odd clip ends no work on the others
            if len(skipped) == len(clips) - 1:
                raise
            skipped[clip.clip_id] = problem_of(error)
            logger.warning("skipped: clip %s: %s", clip.clip_id, skipped[clip.clip_id])
            continue
        pooled.merge(score)
        scores[clip.clip_id] = score
    return Evaluation(scores, pooled, bootstrap_over_clips([score.errors for score in scores.values()]), skipped)


def require_one_sensor(clips: Sequence[Clip]) -> None:
    """Refuse an empty list, and clips of different sensors.

    Raises:
        UserError: names the clips that differ.
    """
    if not clips:
        raise UserError("no clips to evaluate")
    first = clips[0]
    for clip in clips[1:]:
        if (clip.sensor.name, clip.sensor.shape, clip.sensor.format) != (
            first.sensor.name,
            first.sensor.shape,
            first.sensor.format,
        ):
            raise UserError(
                f"clip {first.clip_id} is of sensor {first.sensor.name}, clip {clip.clip_id} of {clip.sensor.name}: "
                "errors of different sensors are not pooled; choose with --clip, or force one with --sensor"
            )
