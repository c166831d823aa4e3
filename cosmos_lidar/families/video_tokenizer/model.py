"""An image or video tokenizer as a NeMo model: the loss of a batch of clips, and the validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.video_tokenizer.config import VideoTokenizerTrainConfig
from cosmos_lidar.families.video_tokenizer.discriminator import Adversary
from cosmos_lidar.losses.adversarial import adaptive_weight
from cosmos_lidar.losses.video import VideoLoss
from cosmos_lidar.metrics import Scores, column_names, pooled
from cosmos_lidar.metrics.codebook import CodebookUsage
from cosmos_lidar.metrics.lpips import Lpips
from cosmos_lidar.metrics.pairs import ImagePair
from cosmos_lidar.models.tokenizer.network import DiscreteTokenizer
from cosmos_lidar.models.tokenizer.video_config import VideoTokenizerConfig
from cosmos_lidar.models.tokenizer.video_layers import fold_frames, unfold_frames
from cosmos_lidar.parallel.spatial import join_slices, take_slice
from cosmos_lidar.training.batches import ExampleBatch
from cosmos_lidar.training.model import TrainedModel
from cosmos_lidar.training.validation import pooled_means


class VideoTokenizerModel(TrainedModel):
    """Train ``network`` to reproduce clips.

    Args:
        run: the resolved configuration.
        network: module with ``encode`` and ``decode``; its parameters appear as ``network.<published key>``.
        folder: of the run.
        loss: the terms that are in use.
        lpips: validates that too; None without its weights.
    """

    def __init__(
        self,
        run: VideoTokenizerTrainConfig,
        network: nn.Module,
        folder: Path,
        loss: VideoLoss,
        lpips: Lpips | None = None,
    ) -> None:
        super().__init__(run, network, folder)
        self.discrete = isinstance(network, DiscreteTokenizer)
        self.temporal = isinstance(network.config, VideoTokenizerConfig)
        self.frozen = [loss] if lpips is None else [loss, lpips]
        game = run.model.loss.adversarial
        if game.weight and run.trainer.accumulate > 1:  # the discriminator is updated with every batch
            raise UserError(
                f"trainer.accumulate={run.trainer.accumulate} and model.loss.adversarial.weight={game.weight} exclude "
                "each other: larger data.batch_size"
            )
        self.adversary = Adversary(game, run.optim) if game.weight else None
        self.columns = ("loss", *loss.names, *(("adversarial", "critic") if self.adversary else ()))
        quality = (
            [*column_names("validation", "images")]
            + ["lpips"] * (lpips is not None)
            + ["perplexity", "codes_used"] * self.discrete
        )
        self.val_columns = tuple(f"val/{name}" for name in (*self.columns, *quality))

    @property
    def _loss(self) -> nn.Module:
        return self.frozen[0]

    @property
    def _lpips(self) -> nn.Module | None:
        return self.frozen[1] if len(self.frozen) > 1 else None

    def auxiliary_modules(self) -> list[nn.Module]:
        """Return the discriminator, if there is one."""
        return [self.adversary.network] if self.adversary else []

    def forward(self, frames: Tensor) -> dict[str, Any]:
        """Return ``reconstruction`` of clips (B, 3, T, H, W) in [-1, 1], and ``indices`` of a discrete tokenizer."""
        x = self._network_input(frames)
        context = self.run.parallel.context > 1
        group: Any = self._device_mesh["context"].get_group() if context else None
        encoded = self.network.encode(take_slice(x, group) if context else x)
        indices, latents = encoded if self.discrete else (None, encoded)
        made = self.network.decode(latents)
        made = join_slices(made, group) if context else made
        return {"reconstruction": made if self.temporal else unfold_frames(made, frames), "indices": indices}

    def inputs(self, batch: Any) -> dict[str, Any]:
        """Return the clips of a batch, or their frames, as the network takes them."""
        return {"x": self._network_input(to_unit_range(batch.frames))}

    def _network_input(self, frames: Tensor) -> Tensor:
        x = frames.to(self.compute_dtype)
        return x if self.temporal else fold_frames(x)

    def losses(self, made: Tensor, frames: Tensor) -> dict[str, Tensor]:
        """Return ``loss`` and its parts, each a scalar; while training, the discriminator learns from the clips too.

        Args:
            made: (B, 3, T, H, W) reconstructions.
            frames: of the same shape, in [-1, 1].
        """
        made = made.float()
        total, parts = self._loss(made, frames, self.global_step)
        if self.adversary is None:
            return {"loss": total, **parts}
        if not self.adversary.active(self.global_step):
            zero = torch.zeros_like(total)
            return {"loss": total, **parts, "adversarial": zero, "critic": zero}
        game = (self.adversary.play if self.training else self.adversary.judge)(made, frames)
        weight: Tensor | float = self.adversary.config.weight
        if self.adversary.config.adaptive and self.training:
            weight = weight * adaptive_weight(total, game["adversarial"], made)
        return {"loss": total + weight * game["adversarial"], **parts, **game}

    def further_tensors(self) -> dict[str, Tensor]:
        """Return the discriminator's weights and optimizer."""
        return self.adversary.tensors() if self.adversary else {}

    def step(self, batch: Any) -> dict[str, Tensor]:
        """Return ``loss`` and its parts of one batch."""
        frames = to_unit_range(batch.frames)
        return self.losses(self(frames)["reconstruction"], frames)

    def example_batch(self, count: int) -> ExampleBatch:
        """Return ``count`` clips of zeros."""
        data = self.run.data
        return ExampleBatch(count, frames=torch.zeros(count, 3, data.frames, data.size, data.size))

    def items_per_sample(self) -> int:
        """Return the latent positions of a training clip."""
        data, shape = self.run.data, self.network.config
        time = 1 + (data.frames - 1) // shape.temporal_compression if self.temporal else 1
        return time * (data.size // shape.spatial_compression) ** 2

    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Return sums over one batch, to be pooled over batches and ranks by :meth:`pool_validation`."""
        frames = to_unit_range(batch.frames)
        output = self(frames)
        made = output["reconstruction"].float()
        sums = {name: float(value) * len(frames) for name, value in self.losses(made, frames).items()}
        images, reference = fold_frames(made), fold_frames(frames)
        per_clip = frames.shape[2]
        quality = Scores("validation", "images")
        quality.add(ImagePair(reference, images, frames=per_clip))
        if self._lpips is not None:
            sums["lpips"] = float(self._lpips(images, reference).sum()) / per_clip
        usage = None
        if self.discrete:
            codebook = CodebookUsage(self.network.quantizer.codebook_size)
            codebook.add(output["indices"])
            usage = codebook.counts.cpu().numpy()
        if batch_idx == 0 and self.global_rank == 0:
            self._write_sample(reference[:per_clip], images[:per_clip])
        return {"count": len(frames), "sums": sums, "quality": quality, "usage": usage}

    def pool_validation(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Return the ``val/`` values of all batches of all ranks, weighted by their number of clips."""
        sums = [{"count": result["count"], **result["sums"]} for result in results]
        values = pooled_means(sums, results[0]["sums"])
        values |= {f"val/{name}": value for name, value in pooled([one["quality"] for one in results]).items()}
        if self.discrete:
            codebook = CodebookUsage(self.network.quantizer.codebook_size)
            codebook.counts += torch.from_numpy(np.sum([result["usage"] for result in results], axis=0))
            values |= {"val/perplexity": codebook.perplexity(), "val/codes_used": codebook.used()}
        return values

    def _write_sample(self, frames: Tensor, made: Tensor) -> None:
        """Write the first clip of the validation: the video on the left, its reconstruction on the right."""
        from cosmos_lidar.viz.video import write_video

        pair = torch.cat([frames, made.clamp(-1.0, 1.0)], dim=3).add(1.0).div(2.0).movedim(1, 3)
        name = f"step_{self.global_step:09d}.mp4"
        write_video(self.folder / "validation" / name, pair.float().cpu().numpy(), fps=24.0)


def to_unit_range(frames: Tensor) -> Tensor:
    """Return uint8 images as float32 in [-1, 1]; others as they are."""
    return frames.float().div(127.5).sub(1.0) if frames.dtype == torch.uint8 else frames
