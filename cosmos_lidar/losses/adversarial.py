"""PatchGAN discriminator for video and hinge adversarial losses (Isola et al. 2017, Lim and Ye 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """PatchGAN discriminator: strided 3-D convolutions, one logit per patch.

    Args:
        channels: of the first layer; each further one has twice as many, up to eight times.
        layers: number of layers that halve height and width; the second and later ones halve time as well.
    """

    def __init__(self, channels: int = 64, layers: int = 3) -> None:
        super().__init__()
        widths = [channels * min(2**i, 8) for i in range(layers)]
        parts: list[nn.Module] = [nn.Conv3d(3, widths[0], (3, 4, 4), (1, 2, 2), 1), nn.LeakyReLU(0.2)]
        for inputs, outputs in zip(widths[:-1], widths[1:], strict=True):
            convolution = nn.Conv3d(inputs, outputs, (3, 4, 4), (2, 2, 2), 1, bias=False)
            parts += [convolution, nn.GroupNorm(min(32, outputs), outputs), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*parts, nn.Conv3d(widths[-1], 1, 3, 1, 1))

    def forward(self, video: Tensor) -> Tensor:
        """Return logits (B, 1, t, h, w), high for real, of clips (B, 3, T, H, W) in [-1, 1]; T may be 1."""
        return self.layers(video)


def critic_hinge(recorded: Tensor, made: Tensor) -> Tensor:
    """Return the discriminator's hinge loss: (mean max(0, 1 - recorded) + mean max(0, 1 + made)) / 2."""
    return 0.5 * (F.relu(1.0 - recorded).mean() + F.relu(1.0 + made).mean())


def generator_hinge(made: Tensor) -> Tensor:
    """Return the tokenizer's adversarial loss: the negative mean logit of its reconstructions."""
    return -made.mean()


def adaptive_weight(reconstruction_loss: Tensor, adversarial_loss: Tensor, at: Tensor, most: float = 1e4) -> Tensor:
    """Return the adaptive weight of the adversarial term: the ratio of gradient norms, a scalar.

    lambda = |d reconstruction_loss / d at| / (|d adversarial_loss / d at| + 1e-4) of Esser et al. 2020
    (arXiv 2012.09841, section 3.2); no gradient flows through it.

    Args:
        reconstruction_loss: scalar with a graph to ``at``, which is retained.
        adversarial_loss: likewise.
        at: where gradients are compared. The paper takes the last weights of the decoder; its output, the
            reconstruction, works for sharded weights too and costs no pass through the decoder.
        most: upper limit.
    """
    ours, theirs = (torch.autograd.grad(loss, at, retain_graph=True)[0].detach().float().norm()
                    for loss in (reconstruction_loss, adversarial_loss))  # fmt: skip
    return (ours / (theirs + 1e-4)).clamp(max=most)
