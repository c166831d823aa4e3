"""Range maps from pictures with a trained camera-to-lidar network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cosmos_lidar.diffusion.samplers import exponential_multistep
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.inference.lidargen_encode import LatentSpace, cut_columns, restore_ranges
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.weights import load_dit_weights
from cosmos_lidar.models.lidargen.canvas import CanvasLayout
from cosmos_lidar.models.lidargen.denoiser import LidarGenDenoiser, sample_lidar
from cosmos_lidar.sensors import Sensor, range_map_to_points


@dataclass(frozen=True)
class SamplingOptions:
    """How a sample is drawn; defaults are the published ones, without the guidance that changes nothing.

    Attributes:
        steps: of the solver; one more evaluation is made.
        sigma_min: noise level of the last evaluation.
        near_m: ranges up to the sensor's shortest plus this count as no return.
        far_m: ranges from the longest minus this on count as no return.
    """

    steps: int = 35
    sigma_min: float = 0.02
    near_m: float = 1.5
    far_m: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.steps < 1 or self.sigma_min <= 0:
            raise UserError(f"{self.steps} steps down to a noise of {self.sigma_min}: at least 1, and above 0")


def open_denoiser(checkpoint: Path, config: Path | None, device: torch.device, dtype: torch.dtype) -> LidarGenDenoiser:
    """Return the denoiser of a checkpoint.

    Args:
        checkpoint: ``iter_N_ema_model.pt`` of a run, the published ``model.pt``, or the same as safetensors.
        config: ``config.yaml`` of the run; None looks beside the checkpoint, and else takes the published network.
        device: to compute on.
        dtype: of the network; the state of the sampler is float64.

    Raises:
        DataError: a file is missing, or holds the weights of another network.
    """
    from cosmos_lidar.training.lidargen_config import LidarGenRun
    from cosmos_lidar.training.overrides import load_config

    if not checkpoint.is_file():
        raise DataError("no such file", file=checkpoint, wanted="iter_N_ema_model.pt of a run, or model.pt")
    beside = checkpoint.with_name("config.yaml")
    path = config or (beside if beside.is_file() else None)
    model = (load_config(LidarGenRun, path) if path else LidarGenRun()).model
    network = build_dit(model.name, n_views=model.n_views)
    load_dit_weights(network, checkpoint)
    network = network.to(device, dtype).eval().requires_grad_(False)
    return LidarGenDenoiser(network, model.canvas.layout(), model.noise.sigma_data, dtype)


@dataclass(frozen=True)
class LidarGenerator:
    """Pictures in, range maps out.

    Attributes:
        denoiser: the trained network.
        lidar: latent space of range maps.
        image: latent space of pictures.
        sensor: whose range maps the network was trained on.
        options: of the sampler.
    """

    denoiser: LidarGenDenoiser
    lidar: LatentSpace
    image: LatentSpace
    sensor: Sensor
    options: SamplingOptions

    def __call__(self, pictures: Tensor, seed: int) -> np.ndarray:
        """Return (rows, columns) metres, 0 = no return, of pictures (views, 3, H, W) in [-1, 1].

        Raises:
            DataError: another number of pictures, or of another size, than the network was trained on.
        """
        latents = self.image.encode(pictures)
        self._check(latents)
        device = next(self.denoiser.network.parameters()).device
        sampler = partial(exponential_multistep, steps=self.options.steps, sigma_min=self.options.sigma_min)
        made = sample_lidar(self.denoiser, latents[None].to(device), sampler, [seed]).cpu()
        return restore_ranges(self.lidar.decode(made)[0], self.sensor.format, self.options.near_m, self.options.far_m)

    def points(self, range_m: np.ndarray) -> np.ndarray:
        """Return (N, 3) float32 metres of a range map (rows, columns) that was cut from the middle of a revolution."""
        full = self.sensor.columns // self.sensor.format.pair_columns
        return range_map_to_points(range_m, self.sensor, "centre", (full - range_m.shape[1]) // 2, full)

    def recorded(self, range_m: np.ndarray) -> np.ndarray:
        """Return a recorded range map as the network's are: columns merged, cut in the middle, in range."""
        from cosmos_lidar.sensors.range_picture import pair_columns

        merged, _ = pair_columns(range_m, self.sensor.format.pair_columns)
        width = cut_columns(self.sensor.format, merged.shape[1], self.lidar.network.config.spatial_compression)
        start = (merged.shape[1] - width) // 2
        cut = merged[:, start : start + width]
        limits, options = self.sensor.format, self.options
        low, high = limits.min_range_m + options.near_m, limits.max_range_m - options.far_m
        return np.where((cut > low) & (cut < high), cut, np.float32(0.0))

    def _check(self, latents: Tensor) -> None:
        layout: CanvasLayout = self.denoiser.layout
        if latents.shape[0] != layout.views or tuple(latents.shape[2:]) != layout.image:
            found = f"{latents.shape[0]} pictures of {tuple(latents.shape[2:])} latents"
            raise DataError(found, wanted=f"{layout.views} of {layout.image}, which the checkpoint was trained for")
        step = self.lidar.network.config.spatial_compression
        full = self.sensor.columns // self.sensor.format.pair_columns
        rows = self.sensor.rows * self.sensor.format.repeat_rows // step
        columns = cut_columns(self.sensor.format, full, step) // step
        if (rows, columns) != layout.lidar:
            found = f"sensor {self.sensor.name}, whose range maps have {rows} x {columns} latents"
            raise DataError(found, wanted=f"{layout.lidar}, which the checkpoint was trained for")
