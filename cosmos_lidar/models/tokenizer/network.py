"""Tokenizer networks (autoencoders) of images (CI, DI) and clips (CV, DV), with continuous or discrete latents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.models.plan import ParallelPlan
from cosmos_lidar.models.tokenizer.config import TokenizerConfig, tokenizer_config
from cosmos_lidar.models.tokenizer.fsq import FSQ
from cosmos_lidar.models.tokenizer.image_layers import AttnBlock, Decoder, Encoder, ResBlock
from cosmos_lidar.models.tokenizer.range_coding import (
    BUFFER,
    PUBLISHED,
    VALIDITY,
    RangeChannels,
    coding_values,
    decode_validity,
    encode_validity,
)
from cosmos_lidar.models.tokenizer.video_config import VideoTokenizerConfig
from cosmos_lidar.models.tokenizer.video_layers import (
    CausalConv3d,
    SpatialAttention,
    TemporalAttention,
    VideoDecoder,
    VideoEncoder,
    VideoResBlock,
)

Config = TokenizerConfig | VideoTokenizerConfig


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


class Tokenizer(nn.Module):
    """Base of continuous and discrete tokenizers: encoder, decoder, and the 1 x 1 convolutions between them.

    Args:
        config: shape of the network.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder, conv1 = _parts(config)
        self.quant_conv = conv1(config.z_channels, config.latent_channels)
        self.post_quant_conv = conv1(config.latent_channels, config.z_channels)
        if has_validity(config):  # in the state dict, so that every file of weights has it
            self.range_coding: Tensor
            self.register_buffer(BUFFER, coding_values(VALIDITY, getattr(config, "scale", False)))

    def encode(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return latents, or (indices, codes) of a discrete tokenizer."""
        raise NotImplementedError

    def decode(self, z: Tensor) -> Tensor:
        """Return the reconstruction (B, in_channels, h c, w c) of latents or codes (B, latent_channels, h, w).

        Those of clips are (B, latent_channels, t, h, w).

        Raises:
            DataError: latents of another shape.
        """
        check_latents(z, self.config)
        raw = self.decoder(self.post_quant_conv(z))
        return decode_validity(raw).published() if has_validity(self.config) else raw

    def decode_channels(self, z: Tensor) -> RangeChannels:
        """Return range, validity and expected error of latents or codes, of a network of the coding ``validity``.

        Raises:
            DataError: latents of another shape.
            UserError: a network of the published coding.
        """
        if not has_validity(self.config):
            raise UserError("a tokenizer of the published coding, which has no validity: expected coding=validity")
        check_latents(z, self.config)
        return decode_validity(self.decoder(self.post_quant_conv(z)))

    def parallel_plan(self) -> ParallelPlan:
        """Return the parallelization plan."""
        return tokenizer_plan(self)


class ContinuousTokenizer(Tokenizer):
    """CI: (B, 3, H, W) in [-1, 1] <-> latents (B, 16, H/8, W/8). CV: (B, 3, T, H, W) <-> (B, 16, 1 + (T - 1)/8, …)."""

    def encode(self, x: Tensor) -> Tensor:
        """Return latents (B, latent_channels, H/c, W/c), of clips (B, latent_channels, 1 + (T - 1)/tc, H/c, W/c).

        Raises:
            DataError: a shape that the network would silently crop, see :func:`check_input`.
        """
        check_input(x, self.config)
        return self.quant_conv(self.encoder(coded(x, self.config)))

    def forward(self, x: Tensor) -> ContinuousOutput | dict[str, Any]:
        """Encode and decode; a dictionary of the same fields while training."""
        z = self.encode(x)
        nothing = torch.zeros(1)
        output = ContinuousOutput(self.decode(z), (nothing, nothing), z)
        return output._asdict() if self.training else output


class DiscreteTokenizer(Tokenizer):
    """DI: (B, 3, H, W) in [-1, 1] <-> indices (B, H/8, W/8) into 64,000 codes. DV: the same of clips."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.quantizer = FSQ(config.levels)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (indices (B, h, w) int32, codes (B, latent_channels, h, w)); of clips with t before h.

        Raises:
            DataError: a shape that the network would silently crop, see :func:`check_input`.
        """
        check_input(x, self.config)
        return self.quantizer(self.quant_conv(self.encoder(coded(x, self.config))))

    def decode_indices(self, indices: Tensor) -> Tensor:
        """Return the reconstruction of indices (B, h, w), of clips (B, t, h, w).

        Raises:
            DataError: an index outside the codebook, or no integers of that shape.
        """
        return self.decode(self.quantizer.indices_to_codes(indices).type_as(next(self.post_quant_conv.parameters())))

    def forward(self, x: Tensor) -> DiscreteOutput | dict[str, Any]:
        """Encode and decode; a dictionary of the same fields while training."""
        indices, codes = self.encode(x)
        output = DiscreteOutput(self.decode(codes), x.new_zeros(len(x), *[1] * (x.ndim - 1)), indices)
        return output._asdict() if self.training else output


def has_validity(config: Config) -> bool:
    """Return whether a tokenizer has the coding ``validity`` of range images."""
    return getattr(config, "coding", PUBLISHED) == VALIDITY


def coded(x: Tensor, config: Config) -> Tensor:
    """Return images (B, 3, H, W), in the published coding of ranges, in that of a network."""
    return encode_validity(x) if has_validity(config) else x


def tokenizer_plan(network: Tokenizer) -> ParallelPlan:
    """Return the parallelization plan: encoder and decoder are FSDP units, residual blocks are checkpointed."""
    kinds = (ResBlock, AttnBlock, VideoResBlock, SpatialAttention, TemporalAttention)
    blocks = tuple(name for name, module in network.named_modules() if isinstance(module, kinds))
    methods: tuple[str, ...] = ("encode", "decode", "decode_channels")
    if isinstance(network, DiscreteTokenizer):
        methods += ("decode_indices",)
    compression = network.config.spatial_compression
    return ParallelPlan(blocks, ("encoder", "decoder"), methods, context="width", compression=compression)


def check_input(x: Tensor, config: Config) -> None:
    """Validate the input shape; the network would silently crop other sizes.

    Raises:
        DataError: not (B, in_channels, H, W), of clips (B, in_channels, T, H, W), with H and W multiples of the spatial
            compression and T one more than a multiple of the temporal one; the message names size and multiple.
    """
    if torch.jit.is_tracing():
        return
    step, channels = config.spatial_compression, config.in_channels
    frames = config.temporal_compression if isinstance(config, VideoTokenizerConfig) else None
    fits = x.ndim == (5 if frames else 4) and x.shape[1] == channels and x.numel()
    if not fits or x.shape[-2] % step or x.shape[-1] % step or (frames and (x.shape[2] - 1) % frames):
        kind, shape, rule = "images", f"(B, {channels}, H, W)", ""
        if frames:
            kind, shape, rule = "clips", f"(B, {channels}, T, H, W)", f", T one more than a multiple of {frames}"
        wanted = f"{shape}, H and W multiples of {step}{rule}: pad or crop first"
        raise DataError(f"{kind} of shape {tuple(x.shape)}", wanted=wanted)
    if not x.is_floating_point():
        raise DataError(f"images of type {x.dtype}", wanted="floating-point values in [-1, 1]")


def check_latents(z: Tensor, config: Config) -> None:
    """Validate the shape of latents or codes.

    Raises:
        DataError: not (B, latent_channels, h, w), of clips (B, latent_channels, t, h, w).
    """
    sizes = "t, h, w" if isinstance(config, VideoTokenizerConfig) else "h, w"
    if torch.jit.is_tracing() or (z.ndim == 3 + sizes.count(",") and z.shape[1] == config.latent_channels):
        return
    wanted = f"(B, {config.latent_channels}, {sizes}), of a {config.family} tokenizer"
    raise DataError(f"latents of shape {tuple(z.shape)}", wanted=wanted)


def _parts(config: Config) -> tuple[nn.Module, nn.Module, Callable[[int, int], nn.Module]]:
    """Return encoder, decoder and the constructor of the 1 x 1 convolutions at the latent."""
    if isinstance(config, VideoTokenizerConfig):
        return VideoEncoder(config), VideoDecoder(config), CausalConv3d
    return Encoder(config), Decoder(config), lambda inputs, outputs: nn.Conv2d(inputs, outputs, 1)


def make_tokenizer(config: Config) -> Tokenizer:
    """Return a randomly initialized network."""
    return DiscreteTokenizer(config) if config.family.startswith("D") else ContinuousTokenizer(config)


def build_tokenizer(name: str, **overrides: object) -> Tokenizer:
    """Return a randomly initialized tokenizer, such as ``build_tokenizer("CI8x8", resolution=512)``.

    Args:
        name: member of the family, see :func:`tokenizer_config`.
        **overrides: fields of the member's config class; ``channels=32`` gives a small network.

    Raises:
        UserError: unknown name or field, or an impossible shape.
    """
    return make_tokenizer(tokenizer_config(name, **overrides))
