"""The lidar tokenizer as a NeMo model: the loss of a batch, and the validation.

The network itself (``cosmos_lidar.models.tokenizer``) does not import this module.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.lidar_tokenizer.config import LidarTokenizerTrainConfig
from cosmos_lidar.losses.reconstruction import l1, laplace_nll
from cosmos_lidar.losses.schedule import piecewise_constant
from cosmos_lidar.metrics import Scores, column_names, pooled
from cosmos_lidar.metrics.lidar import RangeProtocol
from cosmos_lidar.metrics.pairs import ImagePair, RangePair
from cosmos_lidar.models.tokenizer.config import TokenizerConfig
from cosmos_lidar.models.tokenizer.network import has_validity
from cosmos_lidar.models.tokenizer.range_coding import RangeChannels
from cosmos_lidar.models.tokenizer.video_layers import fold_frames
from cosmos_lidar.parallel.spatial import join_slices, take_slice
from cosmos_lidar.sensors import RangeMapFormat, denormalise
from cosmos_lidar.training.batches import ExampleBatch
from cosmos_lidar.training.model import TrainedModel
from cosmos_lidar.training.validation import pooled_means


class LidarTokenizerModel(TrainedModel):
    """Train ``network`` to reproduce images of range maps.

    Args:
        run: the resolved configuration.
        network: module with ``encode`` and ``decode``; its parameters appear as ``network.<published key>``.
        folder: of the run.
        perceptual: module (reconstruction, image, mask) -> per-image distance; None when its weight is 0.
        format: how ranges became images, to report errors in meters.
        size: (height, width) of training images.

    A network of video takes sequences (B, 3, T, H, W); losses and metrics are those of their frames as images. Of a
    network of the coding ``validity``, ranges count where there is a return, validity and expected error are learned
    beside them.

    Raises:
        UserError: options that a network of the coding ``validity`` does not have.
    """

    columns: tuple[str, ...] = ("loss", "color", "perceptual")

    def __init__(
        self,
        run: LidarTokenizerTrainConfig,
        network: nn.Module,
        folder: Path,
        perceptual: nn.Module | None,
        format: RangeMapFormat,
        size: tuple[int, int],
    ) -> None:
        super().__init__(run, network, folder)
        if run.model.loss.masked and run.trainer.accumulate > 1:  # means over pixels beside means over images
            raise UserError(
                f"trainer.accumulate={run.trainer.accumulate} and model.loss.masked=True exclude each other: larger "
                "data.batch_size"
            )
        self.format, self.size = format, size
        config = cast(TokenizerConfig, network.config)
        self.validity = has_validity(config)
        if self.validity:
            _check_validity(run)
            self.columns = ("loss", "color", "validity", *(("scale",) if config.scale else ()))
        quality = (*column_names("validation", "images"), *column_names("validation", "ranges"))
        self.val_columns = tuple(f"val/{name}" for name in (*self.columns, *quality))
        self.frozen = [] if perceptual is None else [perceptual]

    def inputs(self, batch: Any) -> dict[str, Any]:
        """Return the images of a batch, as the network takes them."""
        return {"x": batch.images.to(self.compute_dtype)}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return reconstructions of ``images`` in [-1, 1], in the dtype of the computation.

        Of a network of the coding ``validity``: range, logit of a return and logarithm of the expected error.
        """
        images = images.to(self.compute_dtype)
        if self.validity:
            return torch.cat(self.network.decode_channels(self.network.encode(images)), dim=1)
        if self.run.parallel.context == 1:
            return self.network.decode(self.network.encode(images))
        group = self._device_mesh["context"].get_group()
        return join_slices(self.network.decode(self.network.encode(take_slice(images, group))), group)

    def losses(
        self, reconstruction: torch.Tensor, images: torch.Tensor, valid: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return ``loss`` and its parts, each a scalar.

        Args:
            reconstruction: (B, 3, H, W) or (B, 3, T, H, W).
            images: of the same shape, in [-1, 1].
            valid: with one channel, bool, pixels with a return; used when ``model.loss.masked`` is on, and by the
                coding ``validity``.
        """
        reconstruction, images, valid = (as_images(x) for x in (reconstruction, images, valid))
        if self.validity:
            return self._validity_losses(RangeChannels(*reconstruction.float().split(1, dim=1)), images, valid)
        config = self.run.model.loss
        mask = valid if config.masked else None
        color = l1(reconstruction.float(), images.float(), mask)
        weights = [config.perceptual, config.perceptual_late]
        weight = piecewise_constant(self.global_step, [config.perceptual_boundary], weights)
        perceptual = torch.zeros((), device=images.device)
        for distance in self.frozen:
            perceptual = distance(reconstruction.float(), images.float(), mask).mean()
        return {"loss": config.color * color + weight * perceptual, "color": color, "perceptual": perceptual}

    def _validity_losses(
        self, made: RangeChannels, images: torch.Tensor, valid: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        weights, target = self.run.model.loss, images[:, :1].float()
        found = {"color": l1(made.image, target, valid)}
        found["validity"] = F.binary_cross_entropy_with_logits(made.logit, valid.to(made.logit.dtype))
        loss = weights.color * found["color"] + weights.validity * found["validity"]
        if "scale" in self.columns:
            found["scale"] = laplace_nll((made.image - target).detach(), made.log_scale, valid)
            loss = loss + weights.scale * found["scale"]
        return {"loss": loss, **found}

    def step(self, batch: Any) -> dict[str, torch.Tensor]:
        """Return ``loss`` and its parts of one batch."""
        return self.losses(self(batch.images), batch.images, batch.valid)

    def example_batch(self, count: int) -> ExampleBatch:
        """Return ``count`` images of zeros."""
        valid = torch.ones(count, 1, *self._shape, dtype=torch.bool)
        return ExampleBatch(count, images=torch.zeros(count, 3, *self._shape), valid=valid)

    def items_per_sample(self) -> int:
        """Return the latent positions of a training image or sequence."""
        shape, frames = self.network.config, self.run.data.sequence
        time = 1 + (frames - 1) // shape.temporal_compression if frames > 1 else 1
        return time * self.size[0] * self.size[1] // shape.spatial_compression**2

    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Return sums over one batch, to be pooled over batches and ranks by :meth:`pool_validation`."""
        reconstruction, images, valid = (as_images(x) for x in (self(batch.images), batch.images, batch.valid))
        reconstruction, images = reconstruction.float(), images.float()
        values = self.losses(reconstruction, images, valid)
        ranges = self._meters(reconstruction[:, :1] if self.validity else reconstruction)
        if self.validity:
            reconstruction = RangeChannels(*reconstruction.split(1, dim=1)).published()
        limits = RangeProtocol(min_range_m=self.format.min_range_m, max_range_m=self.format.max_range_m)
        quality, errors = Scores("validation", "images"), Scores("validation", "ranges", limits)
        quality.add(ImagePair(images, reconstruction))
        errors.add(RangePair(self._meters(images), ranges, self._one_row_each(valid)))
        means = {name: float(value) * len(images) for name, value in values.items()}
        return {"count": len(images), "quality": quality, "errors": errors, **means}

    def pool_validation(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Return the ``val/`` values of all batches of all ranks, weighted by their number of frames."""
        means = pooled_means(results, self.columns)
        for part in ("quality", "errors"):
            means |= {f"val/{name}": value for name, value in pooled([result[part] for result in results]).items()}
        return means

    @property
    def _shape(self) -> tuple[int, ...]:
        frames = self.run.data.sequence
        return (frames, *self.size) if frames > 1 else self.size

    def _meters(self, image: torch.Tensor) -> torch.Tensor:
        """Return (B, rows, columns) meters of (B, C, H, W) images: mean of channels, one row of each group."""
        ranges = denormalise(image.clamp(-1.0, 1.0).mean(dim=1), self.format)
        return ranges[:, self.format.repeat_rows // 2 :: self.format.repeat_rows]

    def _one_row_each(self, valid: torch.Tensor) -> torch.Tensor:
        return valid[:, 0, self.format.repeat_rows // 2 :: self.format.repeat_rows]


def _check_validity(run: LidarTokenizerTrainConfig) -> None:
    if run.data.sequence > 1 or run.parallel.context > 1:
        raise UserError(
            f"data.sequence={run.data.sequence}, parallel.context={run.parallel.context} with the coding validity: "
            "missing pixels are interpolated along whole rows of single maps; valid: 1, 1"
        )
    if run.model.loss.perceptual > 0:
        raise UserError(
            f"model.loss.perceptual={run.model.loss.perceptual} compares images of the published coding; with the "
            "coding validity valid: 0"
        )
    if run.trainer.accumulate > 1:  # means over pixels with a return, as of a masked loss
        raise UserError(f"trainer.accumulate={run.trainer.accumulate} with the coding validity; valid: 1")


def as_images(x: torch.Tensor) -> torch.Tensor:
    """Return sequences (B, C, T, H, W) as images (B T, C, H, W); images as they are."""
    return fold_frames(x) if x.ndim == 5 else x
