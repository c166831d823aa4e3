"""Sample range maps from camera images with a trained camera-to-lidar network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cosmos_lidar.diffusion.edm import sigma_ladder
from cosmos_lidar.diffusion.objective import flow_ladder
from cosmos_lidar.diffusion.samplers import solve
from cosmos_lidar.diffusion.solvers import find_solver
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.lidargen.canvas import CanvasLayout
from cosmos_lidar.families.lidargen.denoiser import LidarGenDenoiser, sample_lidar
from cosmos_lidar.families.lidargen.encode import restore_ranges
from cosmos_lidar.latents.cache import weights_hash
from cosmos_lidar.latents.space import LatentSpace
from cosmos_lidar.metrics.outliers import without_edges
from cosmos_lidar.metrics.range_features import PooledLatents
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.weights import load_dit_weights
from cosmos_lidar.models.tokenizer.network import has_validity
from cosmos_lidar.sensors import Sensor, prepare_range_map, range_map_to_points
from cosmos_lidar.sensors.range_image import cut_columns

if TYPE_CHECKING:
    from cosmos_lidar.families.lidargen.config import LidarGenTrainConfig

_PUBLISHED_MARGINS_M = (1.5, 10.0)
_LADDERS = {"karras": sigma_ladder, "flow": flow_ladder}


@dataclass(frozen=True)
class SamplingOptions:
    """How a sample is drawn; defaults are the published ones, without the guidance that changes nothing.

    Attributes:
        steps: of the solver; one or two evaluations of the network in each, and one more at the end.
        sigma_min: noise level of the last evaluation.
        sampler: ``SOLVER`` of a file in ``diffusion/solvers``, by name; options behind commas.
        schedule: ``karras`` (published), or ``flow``: even in the time of a straight path.
        condition_sigma: noise added to the latents of the images; None draws it for each sample, as published.
        edge_ratio: pixels next to jumps of the range by more than this are taken out; None leaves them.
        near_m: ranges up to the sensor's shortest plus this count as no return; None: 1.5 m as published, 0 of a lidar
            tokenizer that decodes validity.
        far_m: ranges from the longest minus this on count as no return; None: 10 m as published, or 0 likewise.
    """

    steps: int = 35
    sigma_min: float = 0.02
    near_m: float | None = None
    far_m: float | None = None
    sampler: str = "2ab"
    schedule: str = "karras"
    condition_sigma: float | None = None
    edge_ratio: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.steps < 1 or self.sigma_min <= 0:
            raise UserError(f"{self.steps} steps down to a noise of {self.sigma_min}: at least 1, and above 0")
        if self.condition_sigma is not None and self.condition_sigma <= 0:
            raise UserError(f"noise of {self.condition_sigma} on the images: expected more than 0, such as 0.01")
        if self.edge_ratio is not None and self.edge_ratio <= 1:
            raise UserError(f"edges at a ratio of {self.edge_ratio}: above 1, such as 1.1")
        find_solver(self.sampler)
        if self.schedule not in _LADDERS:
            raise UserError(f"unknown noise schedule {self.schedule!r}; valid: {', '.join(_LADDERS)}")

    def draw(self, denoise: Callable[[Tensor, Tensor], Tensor], noise: Tensor) -> Tensor:
        """Return a sample of a denoiser x0(x, sigma), from unit-variance noise."""
        return solve(self.sampler, denoise, noise, _LADDERS[self.schedule](self.steps, sigma_min=self.sigma_min))


def configuration(
    checkpoint: Path, config: Path | None = None, default: LidarGenTrainConfig | None = None
) -> LidarGenTrainConfig:
    """Return the configuration of the run that a checkpoint is of.

    Args:
        checkpoint: of the run.
        config: its ``config.yaml``; None looks beside the checkpoint, also for a model's ``config.json``.
        default: what is taken where there is none; None for the published network.

    Raises:
        DataError: the file cannot be read.
    """
    from cosmos_lidar.families.lidargen.config import LidarGenTrainConfig
    from cosmos_lidar.training.overrides import config_beside, load_config

    path = config or config_beside(checkpoint)
    return load_config(LidarGenTrainConfig, path) if path else default or LidarGenTrainConfig()


def open_denoiser(
    checkpoint: Path,
    run: LidarGenTrainConfig | None,
    device: torch.device,
    dtype: torch.dtype,
    views: int | None = None,
) -> LidarGenDenoiser:
    """Return the denoiser of a checkpoint.

    Args:
        checkpoint: ``iter_N_ema_model.pt`` of a run, the published ``model.pt``, or the same as safetensors.
        run: its configuration; None for that beside it, or the published network.
        device: to compute on.
        dtype: of the network; the state of the sampler is float64.
        views: cameras, for a ray-conditioned network; None for as many as it was trained with.

    Raises:
        DataError: a file is missing, or holds the weights of another network, or of one for other views.
    """
    if not checkpoint.is_file():
        raise DataError("no such file", file=checkpoint, wanted="iter_N_ema_model.pt of a run, or model.pt")
    model = (run or configuration(checkpoint)).model
    layout, canvas = model.canvas.layout(), model.canvas
    if views is not None and views != layout.views:
        if not model.rays:
            found = f"a network for {layout.views} views"
            raise DataError(found, file=checkpoint, wanted=f"one for {views}, or one that was trained with model.rays")
        layout = replace(layout, views=views)
    with torch.device("meta"):  # random weights would only be thrown away
        network = build_dit(model.name, **{**model.shape(), "n_views": 1 + layout.views})
    load_dit_weights(network, checkpoint)
    network = network.to(device, dtype).eval().requires_grad_(False)
    return LidarGenDenoiser(network, layout, model.noise.sigma_data, dtype, model.objective, canvas.dense)


@dataclass(frozen=True)
class LidarGenerator:
    """Images in, range maps out.

    Attributes:
        denoiser: the trained network.
        lidar: latent space of range maps.
        image: latent space of images.
        sensor: whose range maps the network was trained on.
        options: of the sampler.
    """

    denoiser: LidarGenDenoiser
    lidar: LatentSpace
    image: LatentSpace
    sensor: Sensor
    options: SamplingOptions

    def __call__(self, images: Tensor, seed: int, rays: np.ndarray | None = None) -> np.ndarray:
        """Return (rows, columns) meters, 0 = no return, of images (views, 3, H, W) in [-1, 1].

        Args:
            images: images, as of ``FrameEncoder.images``.
            seed: of the sample.
            rays: (1 + views, rows, columns, 6) of the tokens, for a network that was trained with them.

        Raises:
            DataError: another number of images, or of another size, than the network was trained on.
        """
        latents = self.image.encode(images)
        self._check(latents, rays)
        device = next(self.denoiser.network.parameters()).device
        along = torch.from_numpy(rays)[None].to(device) if self.wants_rays and rays is not None else None
        options = self.options
        made = sample_lidar(
            self.denoiser, latents[None].to(device), options.draw, [seed], along, options.condition_sigma
        ).cpu()
        return self.restore(made)

    def restore(self, latents: Tensor) -> np.ndarray:
        """Return (rows, columns) meters, 0 = no return, of normalized latents (1, C, h, w)."""
        range_m = restore_ranges(self.lidar.decode(latents)[0], self.sensor.format, *self.margins_m)
        return range_m if self.options.edge_ratio is None else without_edges(range_m, self.options.edge_ratio)

    @property
    def margins_m(self) -> tuple[float, float]:
        """Meters from the shortest and from the longest range that count as no return."""
        near_m, far_m = (0.0, 0.0) if has_validity(self.lidar.network.config) else _PUBLISHED_MARGINS_M
        options = self.options
        return near_m if options.near_m is None else options.near_m, far_m if options.far_m is None else options.far_m

    @property
    def wants_rays(self) -> bool:
        """Whether the network was trained with rays."""
        return bool(self.denoiser.network.config.ray_channels)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the images that the network was trained on."""
        step = self.image.network.config.spatial_compression
        return self.denoiser.layout.image[0] * step, self.denoiser.layout.image[1] * step

    def points(self, range_m: np.ndarray) -> np.ndarray:
        """Return (N, 3) float32 meters of a range map (rows, columns) that was cut from the middle of a revolution."""
        full = self.sensor.columns // self.sensor.format.pair_columns
        points = range_map_to_points(range_m, self.sensor, "centre", (full - range_m.shape[1]) // 2, full)
        return np.asarray(points)

    def recorded(self, range_m: np.ndarray) -> np.ndarray:
        """Return a recorded range map as the network's are: columns merged, cut in the middle, in range."""
        from cosmos_lidar.sensors.range_image import pair_columns

        merged, _ = pair_columns(range_m, self.sensor.format.pair_columns)
        width = cut_columns(self.sensor.format, merged.shape[1], self.lidar.network.config.spatial_compression)
        start = (merged.shape[1] - width) // 2
        cut = merged[:, start : start + width]
        limits, (near_m, far_m) = self.sensor.format, self.margins_m
        low, high = limits.min_range_m + near_m, limits.max_range_m - far_m
        return np.where((cut > low) & (cut < high), cut, np.float32(0.0))

    def features(self) -> PooledLatents:
        """Return what describes range maps, cut as the network's, for a Frechet distance: the lidar tokenizer."""
        merged = replace(self.sensor.format, pair_columns=1)

        def encode(range_m: Tensor) -> Tensor:
            return self.lidar.encode(prepare_range_map(range_m, merged))

        return PooledLatents(encode, weights_hash(self.lidar.network))

    def _check(self, latents: Tensor, rays: np.ndarray | None) -> None:
        if self.wants_rays and rays is None:
            wanted = "intrinsics and poses of all cameras: this checkpoint is ray-conditioned"
            raise DataError("no calibration", wanted=wanted)
        layout: CanvasLayout = self.denoiser.layout
        if latents.shape[0] != layout.views or tuple(latents.shape[2:]) != layout.image:
            found = f"{latents.shape[0]} images of {tuple(latents.shape[2:])} latents"
            raise DataError(found, wanted=f"{layout.views} of {layout.image}, which the checkpoint was trained for")
        step = self.lidar.network.config.spatial_compression
        full = self.sensor.columns // self.sensor.format.pair_columns
        rows = self.sensor.rows * self.sensor.format.repeat_rows // step
        columns = cut_columns(self.sensor.format, full, step) // step
        if (rows, columns) != layout.lidar:
            found = f"sensor {self.sensor.name}, whose range maps have {rows} x {columns} latents"
            of = " x ".join(str(size) for size in layout.lidar)
            wanted = f"the lidar that the checkpoint was trained for, {of} latents: --sensor NAME_OR_FILE"
            raise DataError(found, wanted=wanted)
