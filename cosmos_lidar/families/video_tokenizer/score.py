"""Quality of reconstructed videos: the metrics of images that ``reconstruct`` shows, LPIPS, and clips for rFVD."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from cosmos_lidar.families.video_tokenizer.codec import from_uint8
from cosmos_lidar.metrics import Scores
from cosmos_lidar.metrics.pairs import ImagePair

if TYPE_CHECKING:
    from cosmos_lidar.metrics.lpips import Lpips
    from cosmos_lidar.metrics.video_features import VideoDistance


class VideoScores:
    """Scores of one reconstructed video, a frame at a time.

    Args:
        lpips: computes LPIPS; None leaves it out.
        distance: is given the clips of the video, for the reconstruction FVD over all videos; None for none.
        clip_frames: frames of each of these clips. They follow each other; what is left at the end is not used.
    """

    def __init__(
        self, lpips: Lpips | None = None, distance: VideoDistance | None = None, clip_frames: int = 16
    ) -> None:
        self.lpips, self.distance, self.clip_frames = lpips, distance, clip_frames
        self._scores = Scores("reconstruct", "images")
        self._lpips: list[float] = []
        self._clip: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, frame: np.ndarray, made: np.ndarray) -> None:
        """Add the next frame and its reconstruction, (H, W, 3) uint8.

        Raises:
            DataError: frames that are too small, or clips too short for the network of ``distance``.
        """
        ours, theirs = (from_uint8(x[None], torch.float32).transpose(0, 1) for x in (made, frame))
        self._scores.add(ImagePair(theirs, ours))
        if self.lpips is not None:
            with torch.no_grad():
                self._lpips.append(float(self.lpips(ours, theirs)))
        if self.distance is not None:
            self._clip.append((made, frame))
            if len(self._clip) == self.clip_frames:
                self._add_clip(self.distance)

    def result(self) -> dict[str, float]:
        """Return the columns of every metric of ``reconstruct``, and ``lpips``, the mean over frames."""
        lpips = {"lpips": sum(self._lpips) / len(self._lpips)} if self._lpips else {}
        return self._scores.result() | lpips

    def _add_clip(self, distance: VideoDistance) -> None:
        ours, theirs = (from_uint8(np.stack(part), torch.float32)[None] for part in zip(*self._clip, strict=True))
        self._clip.clear()
        distance.add(ours, theirs)
