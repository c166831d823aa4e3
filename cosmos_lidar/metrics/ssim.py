"""Structural similarity (SSIM) of images, mean over images."""

from __future__ import annotations

from cosmos_lidar.metrics import Metric
from cosmos_lidar.metrics.image import ssim
from cosmos_lidar.metrics.mean import MeanOfImages

METRIC = Metric(
    sample="images",
    definition="structural similarity (Wang et al. 2004) of 8-bit levels, 7 x 7 windows, mean over images",
    columns={"validation": ("ssim",), "reconstruct": ("ssim",)},
    start=lambda limits: MeanOfImages(ssim=ssim),
)
