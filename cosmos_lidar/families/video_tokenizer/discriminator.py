"""The discriminator of adversarial training: its network, its own optimizer, its part in checkpoints."""

from __future__ import annotations

from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor

from cosmos_lidar.families.video_tokenizer.config import AdversarialConfig
from cosmos_lidar.losses.adversarial import PatchDiscriminator, critic_hinge, generator_hinge
from cosmos_lidar.training.checkpoint.callback import optimizer_tensors
from cosmos_lidar.training.config import OptimConfig


class Adversary:
    """Discriminator of recorded and reconstructed clips, updated once before each update of the tokenizer.

    Every rank holds all of it; gradients are averaged over all ranks, so that it stays the same on each.

    Args:
        config: its weight, start and size.
        optim: of the tokenizer; learning rate, betas and clipping are the discriminator's too.
    """

    def __init__(self, config: AdversarialConfig, optim: OptimConfig) -> None:
        self.config, self.clip_norm = config, optim.clip_norm
        self.network = PatchDiscriminator(config.channels, config.layers)
        first, second = optim.betas
        self.optimizer = torch.optim.AdamW(self.network.parameters(), optim.lr, (first, second), weight_decay=0.0)

    def active(self, step: int) -> bool:
        """Return whether the adversarial loss has started at ``step``."""
        return step >= self.config.start

    def play(self, made: Tensor, recorded: Tensor) -> dict[str, Tensor]:
        """Update the discriminator; return its loss ``critic`` and the tokenizer's adversarial loss.

        Args:
            made: (B, 3, T, H, W) reconstructions; the gradient of ``adversarial`` goes into them.
            recorded: of the same shape.
        """
        self.network.requires_grad_(True)
        loss = critic_hinge(self.network(recorded), self.network(made.detach()))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._average_gradients()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm or float("inf"))
        self.optimizer.step()
        self.network.requires_grad_(False)
        return {"adversarial": generator_hinge(self.network(made)), "critic": loss.detach()}

    def judge(self, made: Tensor, recorded: Tensor) -> dict[str, Tensor]:
        """Return the same two losses without an update, for the validation."""
        with torch.no_grad():
            verdict = self.network(made)
            return {"adversarial": generator_hinge(verdict), "critic": critic_hinge(self.network(recorded), verdict)}

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint holds of the discriminator, by name."""
        self.network.requires_grad_(True)
        weights = {f"adversary.{name}": value for name, value in self.network.state_dict().items()}
        return weights | optimizer_tensors(self.network, self.optimizer, "adversary_optimizer.")

    def _average_gradients(self) -> None:
        if dist.is_initialized() and dist.get_world_size() > 1:
            for parameter in self.network.parameters():
                gradient = cast(Tensor, parameter.grad)
                dist.all_reduce(gradient)
                gradient /= dist.get_world_size()
