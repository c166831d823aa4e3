"""Peak signal-to-noise ratio (PSNR) of images: mean over images, and that of the error of all images together."""

from __future__ import annotations

import torch

from cosmos_lidar.metrics import Metric
from cosmos_lidar.metrics.image import psnr, psnr_of_error, squared_error
from cosmos_lidar.metrics.mean import MeanOfImages


class Psnr(MeanOfImages):
    """Columns ``psnr``, the mean over images, and ``psnr_video``, of the mean squared error of all of them.

    ``psnr_video`` is how TokenBench scores videos. It is never above ``psnr``, which one perfect frame raises.
    """

    def __init__(self) -> None:
        super().__init__(psnr=psnr, error=squared_error)

    def result(self) -> dict[str, float]:
        """Return both in dB."""
        means = super().result()
        error = torch.tensor(means["error"], dtype=torch.float64)
        return {"psnr": means["psnr"], "psnr_video": float(psnr_of_error(error))}


METRIC = Metric(
    sample="images",
    definition="10 log10(255^2 / mean squared error) of 8-bit levels, mean over images; psnr_video: of the mean error",
    columns={"validation": ("psnr",), "reconstruct": ("psnr", "psnr_video")},
    start=lambda limits: Psnr(),
)
