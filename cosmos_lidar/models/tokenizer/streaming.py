"""Videos of any length through a causal tokenizer, chunk by chunk, with the latents and pictures of one pass.

A causal network needs of the past only: the last two frames in front of each temporal convolution, and the keys and
values of the temporal attention in the middle. These are kept between chunks. The layers are told from outside, for the
time of one call, so that two streams may run through one network in turns (not in two threads at once).

Exact: GroupNorm and spatial attention work frame by frame. The keys and values grow with the video, by two times 512
values for each latent pixel (of CV8x8x8 at 720p, 59 MB in fp32 for eight frames); ``window`` bounds them, at the price
of forgetting what lies farther back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.tokenizer.network import DiscreteTokenizer, check_latents
from cosmos_lidar.models.tokenizer.video_config import VideoTokenizerConfig
from cosmos_lidar.models.tokenizer.video_layers import CausalConv3d, HybridDown, HybridUp, TemporalAttention
from cosmos_lidar.models.tokenizer.wavelets_3d import HaarPatcher3d, HaarUnpatcher3d

_Memory = dict[nn.Module, tuple[Tensor, ...]]


class _Stream:
    """What the layers of one half of a network remember between the chunks of one video."""

    def __init__(self, parts: tuple[nn.Module, ...], window: int | None) -> None:
        self.begun = False
        self._memory: _Memory = {}
        self._rules = {}
        for module in (module for part in parts for module in part.modules()):
            self._rules |= {(module, name): rule for name, rule in _rules(module, self._memory, window)}

    @property
    def memory_bytes(self) -> int:
        """Bytes kept for the next chunk."""
        return sum(tensor.nbytes for tensors in self._memory.values() for tensor in tensors)

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        """Let the layers use the memory, until the end of the block."""
        taken = [(module, name) for (module, name), rule in self._rules.items() if self.begun or rule is not _unchanged]
        for module, name in taken:
            setattr(module, name, self._rules[module, name])
        try:
            yield
        finally:
            for module, name in taken:
                delattr(module, name)
        self.begun = True


class StreamingEncoder(_Stream):
    """Encode one video in chunks: first 1 + k tc frames, then k tc each, where tc is the temporal compression.

    Args:
        network: a CV or DV tokenizer.
        window: latent frames that temporal attention looks back on; None for all, which is exact.
    """

    def __init__(self, network: nn.Module, window: int | None = None) -> None:
        _refuse_pictures(network)
        super().__init__((network.encoder, network.quant_conv), window)
        self.network = network

    def __call__(self, frames: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return the latents (B, C, t, h, w) of the next frames, or (indices, codes), as ``network.encode`` does.

        Args:
            frames: (B, 3, T, H, W) in [-1, 1].

        Raises:
            DataError: a number of frames that does not fill latents, or sizes that the network would cut.
        """
        self._check(frames)
        with self._remembering():
            hidden = self.network.quant_conv(self.network.encoder(frames))
        return self.network.quantizer(hidden) if isinstance(self.network, DiscreteTokenizer) else hidden

    def _check(self, frames: Tensor) -> None:
        config = self.network.config
        step, space = config.temporal_compression, config.spatial_compression
        single = 0 if self.begun else 1
        fits = frames.ndim == 5 and frames.shape[1] == config.in_channels and frames.shape[2] >= max(single, 1)
        if not fits or (frames.shape[2] - single) % step or frames.shape[3] % space or frames.shape[4] % space:
            count = f"{single} + a multiple of {step}" if single else f"a multiple of {step}"
            wanted = f"(B, {config.in_channels}, T, H, W), T {count}, H and W multiples of {space}"
            raise DataError(f"a chunk of shape {tuple(frames.shape)}", wanted=wanted)


class StreamingDecoder(_Stream):
    """Decode one video in chunks of any number of latent frames: the first gives one picture, each other one tc.

    Args:
        network: a CV or DV tokenizer.
        window: latent frames that temporal attention looks back on; None for all, which is exact.
    """

    def __init__(self, network: nn.Module, window: int | None = None) -> None:
        _refuse_pictures(network)
        super().__init__((network.decoder, network.post_quant_conv), window)
        self.network = network

    def __call__(self, latents: Tensor) -> Tensor:
        """Return the next pictures (B, 3, T, H, W) of latents, or codes, (B, C, t, h, w).

        Raises:
            DataError: latents of another shape.
        """
        check_latents(latents, self.network.config)
        with self._remembering():
            return self.network.decoder(self.network.post_quant_conv(latents))


def _refuse_pictures(network: nn.Module) -> None:
    if not isinstance(network.config, VideoTokenizerConfig):
        raise DataError(f"a {network.config.family} tokenizer", wanted="a tokenizer of videos (CV, DV) for a stream")


def _rules(module: nn.Module, memory: _Memory, window: int | None) -> Iterator[tuple[str, Callable]]:
    """Yield (method, what takes its place) of a layer that looks at other frames."""
    if isinstance(module, CausalConv3d) and module.repeats > 0:
        yield "with_past", partial(_with_past, module, memory)
    elif isinstance(module, TemporalAttention):
        yield "attend", partial(_attend, module, memory, window)
    elif isinstance(module, HybridDown):
        yield "paired", _unchanged
    elif isinstance(module, HybridUp):
        yield "unpaired", _unchanged
    elif isinstance(module, HaarPatcher3d):
        yield "filled", _unchanged
    elif isinstance(module, HaarUnpatcher3d):
        yield "emptied", _unchanged


def _unchanged(x: Tensor) -> Tensor:
    """After the first chunk there is no first frame that stands for itself."""
    return x


def _with_past(module: CausalConv3d, memory: _Memory, x: Tensor) -> Tensor:
    whole = torch.cat((*memory[module], x), dim=2) if module in memory else CausalConv3d.with_past(module, x)
    memory[module] = (whole[:, :, -module.repeats :].clone(),)  # a view would keep all of it
    return whole


def _attend(
    module: TemporalAttention, memory: _Memory, window: int | None, q: Tensor, k: Tensor, v: Tensor
) -> Tensor:
    if module in memory:
        k, v = (torch.cat(pair, dim=2) for pair in zip(memory[module], (k, v), strict=True))
    memory[module] = tuple((part if window is None else part[:, :, -window:]).clone() for part in (k, v))
    return TemporalAttention.attend(module, q, k, v)
