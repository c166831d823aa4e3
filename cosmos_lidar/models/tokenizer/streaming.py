"""Streaming encoding and decoding of videos with a causal tokenizer, in chunks, exact to one pass.

State of a causal network between chunks: the last two input frames of each temporal convolution, and the keys and
values of the temporal attention. Layer methods are patched for the duration of a call, so that several streams may use
one network; threads are serialized by a lock.

Exact: GroupNorm and spatial attention work frame by frame. The keys and values grow with the video, by two times 512
values for each latent pixel (of CV8x8x8 at 720p, 59 MB in fp32 for eight frames); ``window`` bounds them, which
approximates attention; the result does not depend on the division into chunks.

A chunk that fails leaves the state unchanged and can be retried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Lock
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.models.tokenizer.network import DiscreteTokenizer, Tokenizer, check_latents
from cosmos_lidar.models.tokenizer.video_config import VideoTokenizerConfig
from cosmos_lidar.models.tokenizer.video_layers import CausalConv3d, HybridDown, HybridUp, TemporalAttention
from cosmos_lidar.models.tokenizer.wavelets_3d import HaarPatcher3d, HaarUnpatcher3d

_Memory = dict[nn.Module, tuple[Tensor, ...]]
_turns: WeakKeyDictionary[nn.Module, Lock] = WeakKeyDictionary()  # of each network
_turns_guard = Lock()


class _Stream:
    """State of the layers of an encoder or decoder between the chunks of one video."""

    def __init__(self, network: Tokenizer, parts: tuple[nn.Module, ...], window: int | None) -> None:
        if not isinstance(network.config, VideoTokenizerConfig):
            wanted = "a tokenizer of videos (CV, DV) for a stream"
            raise DataError(f"a {network.config.family} tokenizer", wanted=wanted)
        if window is not None and window < 1:
            raise UserError(f"window={window}: at least 1 latent frame, or None for all")
        self.begun = False
        self.network, self.config = network, network.config
        self._sizes: tuple[int, ...] | None = None
        self._memory: _Memory = {}
        self._rules: dict[tuple[nn.Module, str], Callable[..., Tensor]] = {}
        for module in (module for part in parts for module in part.modules()):
            self._rules |= {(module, name): rule for name, rule in _rules(module, self._memory, window)}

    @property
    def memory_bytes(self) -> int:
        """Bytes kept for the next chunk."""
        return sum(tensor.nbytes for tensors in self._memory.values() for tensor in tensors)

    def _expect_same_sizes(self, x: Tensor) -> None:
        sizes = (x.shape[0], *x.shape[3:])
        if self._sizes is not None and sizes != self._sizes:
            raise DataError(f"a chunk of (B, H, W) {sizes}", wanted=f"{self._sizes}, as the first chunk had")

    @contextmanager
    def _remembering(self, x: Tensor) -> Iterator[None]:
        """Patch the layers to use the state of this stream within the block; the new state is kept if it succeeds.

        Args:
            x: the chunk (B, C, T, H, W).
        """
        self._expect_same_sizes(x)
        before = dict(self._memory)
        with _turn(self.network), torch.no_grad():
            taken = [key for key, rule in self._rules.items() if self.begun or rule is not _unchanged]
            for module, name in taken:
                setattr(module, name, self._rules[module, name])
            try:
                yield
            except BaseException:
                self._memory.clear()
                self._memory.update(before)
                raise
            finally:
                for module, name in taken:
                    delattr(module, name)
        self.begun, self._sizes = True, (x.shape[0], *x.shape[3:])


def _turn(network: nn.Module) -> Lock:
    with _turns_guard:
        return _turns.setdefault(network, Lock())


class StreamingEncoder(_Stream):
    """Encode one video in chunks: first 1 + k tc frames, then k tc each, where tc is the temporal compression.

    Args:
        network: a CV or DV tokenizer.
        window: past latent frames that temporal attention uses; None for all, which is exact.

    Raises:
        DataError: a tokenizer of images.
        UserError: a window below 1.
    """

    def __init__(self, network: Tokenizer, window: int | None = None) -> None:
        super().__init__(network, (network.encoder, network.quant_conv), window)

    def __call__(self, frames: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return the latents (B, C, t, h, w) of the next frames, or (indices, codes), as ``network.encode`` does.

        Args:
            frames: (B, 3, T, H, W) in [-1, 1].

        Raises:
            DataError: a number of frames that does not fill latents, sizes that the network would crop, or that differ
                from the first chunk.
        """
        self._check(frames)
        with self._remembering(frames):
            hidden = self.network.quant_conv(self.network.encoder(frames))
            return self.network.quantizer(hidden) if isinstance(self.network, DiscreteTokenizer) else hidden

    def _check(self, frames: Tensor) -> None:
        config = self.config
        step, space = config.temporal_compression, config.spatial_compression
        single = 0 if self.begun else 1
        fits = frames.ndim == 5 and frames.shape[1] == config.in_channels and frames.shape[2] >= max(single, 1)
        if not fits or (frames.shape[2] - single) % step or frames.shape[3] % space or frames.shape[4] % space:
            count = f"{single} + a multiple of {step}" if single else f"a multiple of {step}"
            wanted = f"(B, {config.in_channels}, T, H, W), T {count}, H and W multiples of {space}"
            raise DataError(f"a chunk of shape {tuple(frames.shape)}", wanted=wanted)


class StreamingDecoder(_Stream):
    """Decode one video in chunks of any number of latent frames: the first gives one image, each other one tc.

    Args:
        network: a CV or DV tokenizer.
        window: past latent frames that temporal attention uses; None for all, which is exact.

    Raises:
        DataError: a tokenizer of images.
        UserError: a window below 1.
    """

    def __init__(self, network: Tokenizer, window: int | None = None) -> None:
        super().__init__(network, (network.decoder, network.post_quant_conv), window)

    def __call__(self, latents: Tensor) -> Tensor:
        """Return the next images (B, 3, T, H, W) of latents, or codes, (B, C, t, h, w).

        Raises:
            DataError: latents of another shape than the network makes, or than the first chunk had; none at all.
        """
        check_latents(latents, self.config)
        if not latents.shape[2]:
            raise DataError(f"a chunk of shape {tuple(latents.shape)}", wanted="at least one frame")
        with self._remembering(latents):
            return self.network.decoder(self.network.post_quant_conv(latents))


def _rules(module: nn.Module, memory: _Memory, window: int | None) -> Iterator[tuple[str, Callable]]:
    """Yield (method name, replacement) of a layer with temporal state."""
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
    """Replacement after the first chunk: no causal padding of the first frame."""
    return x


def _with_past(module: CausalConv3d, memory: _Memory, x: Tensor) -> Tensor:
    whole = torch.cat((*memory[module], x), dim=2) if module in memory else CausalConv3d.with_past(module, x)
    memory[module] = (whole[:, :, -module.repeats :].clone(),)  # a view would keep all of it
    return whole


def _attend(module: TemporalAttention, memory: _Memory, window: int | None, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    if module in memory:
        k, v = (torch.cat(pair, dim=2) for pair in zip(memory[module], (k, v), strict=True))
    memory[module] = tuple((part if window is None else part[:, :, -window:]).clone() for part in (k, v))
    return TemporalAttention.attend(module, q, k, v, window)
