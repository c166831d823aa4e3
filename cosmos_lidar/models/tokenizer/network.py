"""Image tokenizers: pictures to latents and back, continuous (CI) and discrete (DI)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.tokenizer.config import TokenizerConfig, tokenizer_config
from cosmos_lidar.models.tokenizer.fsq import FSQ
from cosmos_lidar.models.tokenizer.image_layers import Decoder, Encoder


class ContinuousOutput(NamedTuple):
    """Result of a continuous tokenizer's forward pass; posteriors are empty for its deterministic latents."""

    reconstructions: Tensor
    posteriors: tuple[Tensor, Tensor]
    latent: Tensor


class DiscreteOutput(NamedTuple):
    """Result of a discrete tokenizer's forward pass; the quantizer has no loss, so ``quant_loss`` is zeros."""

    reconstructions: Tensor
    quant_loss: Tensor
    quant_info: Tensor


class ContinuousImageTokenizer(nn.Module):
    """CI: (B, 3, H, W) in [-1, 1] <-> latents (B, 16, H/8, W/8)."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quant_conv = nn.Conv2d(config.z_channels, config.latent_channels, 1)
        self.post_quant_conv = nn.Conv2d(config.latent_channels, config.z_channels, 1)

    def encode(self, x: Tensor) -> Tensor:
        """Return latents (B, latent_channels, H/c, W/c).

        Raises:
            DataError: not (B, in_channels, H, W) with H and W multiples of the compression c.
        """
        check_picture(x, self.config)
        return self.quant_conv(self.encoder(x))

    def decode(self, z: Tensor) -> Tensor:
        """Return the reconstruction (B, in_channels, h c, w c) of latents (B, latent_channels, h, w)."""
        return self.decoder(self.post_quant_conv(z))

    def forward(self, x: Tensor) -> ContinuousOutput | dict[str, Tensor]:
        """Encode and decode; a dictionary of the same fields while training."""
        z = self.encode(x)
        nothing = torch.zeros(1)
        output = ContinuousOutput(self.decode(z), (nothing, nothing), z)
        return output._asdict() if self.training else output


class DiscreteImageTokenizer(nn.Module):
    """DI: (B, 3, H, W) in [-1, 1] <-> indices (B, H/8, W/8) into 64,000 codes."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quant_conv = nn.Conv2d(config.z_channels, config.latent_channels, 1)
        self.post_quant_conv = nn.Conv2d(config.latent_channels, config.z_channels, 1)
        self.quantizer = FSQ(config.levels)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (indices (B, h, w) int32, codes (B, latent_channels, h, w)).

        Raises:
            DataError: not (B, in_channels, H, W) with H and W multiples of the compression.
        """
        check_picture(x, self.config)
        return self.quantizer(self.quant_conv(self.encoder(x)))

    def decode(self, codes: Tensor) -> Tensor:
        """Return the reconstruction of codes (B, latent_channels, h, w)."""
        return self.decoder(self.post_quant_conv(codes))

    def decode_indices(self, indices: Tensor) -> Tensor:
        """Return the reconstruction of indices (B, h, w).

        Raises:
            DataError: an index outside the codebook.
        """
        return self.decode(self.quantizer.indices_to_codes(indices).to(self.post_quant_conv.weight.dtype))

    def forward(self, x: Tensor) -> DiscreteOutput | dict[str, Tensor]:
        """Encode and decode; a dictionary of the same fields while training."""
        indices, codes = self.encode(x)
        output = DiscreteOutput(self.decode(codes), x.new_zeros(len(x), 1, 1, 1), indices)
        return output._asdict() if self.training else output


def check_picture(x: Tensor, config: TokenizerConfig) -> None:
    """Refuse pictures that the network would silently cut.

    Raises:
        DataError: the message names the size and the multiple that is wanted.
    """
    if torch.jit.is_tracing():
        return
    step, channels = config.spatial_compression, config.in_channels
    if x.ndim != 4 or x.shape[1] != channels or x.shape[2] % step or x.shape[3] % step or not x.shape[2] * x.shape[3]:
        raise DataError(
            f"pictures of shape {tuple(x.shape)}",
            wanted=f"(B, {channels}, H, W), H and W multiples of {step}: pad or crop first",
        )


def make_tokenizer(config: TokenizerConfig) -> nn.Module:
    """Return the network of a shape, randomly initialised."""
    return (DiscreteImageTokenizer if config.family == "DI" else ContinuousImageTokenizer)(config)


def build_tokenizer(name: str, **overrides: object) -> nn.Module:
    """Return a randomly initialised tokenizer, such as ``build_tokenizer("CI8x8", resolution=512)``.

    Args:
        name: member of the family, see :func:`tokenizer_config`.
        **overrides: fields of :class:`TokenizerConfig`; ``channels=32`` gives a small network.

    Raises:
        UserError: unknown name or field, or a shape that cannot be.
    """
    return make_tokenizer(tokenizer_config(name, **overrides))
