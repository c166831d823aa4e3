"""A Wan2.1 video VAE that starts as principal components, fitted layer by layer by least squares, not at random.

Encoder: each step between levels keeps the principal components of 2 x 2 pixels, then of two frames (their mean, and
the difference of the strongest components); residual blocks begin as their shortcuts. The last convolution is fitted to
the strongest components of what is left, one for each latent channel, of deviation 1.

Decoder: its layers are taken one after the other. What a layer should give are the features that the encoder has at the
same place, of the image in the end; the weights of a convolution are those of the least squared error on random
positions. Of a residual block, the first convolution keeps random weights, and the second is fitted to what is missing
yet. These weights are what training starts from.

Channel 0 of every level is constant: norms over the channels would otherwise hide how large the others are.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosmos_lidar.models.wan_vae import WanVAE
from cosmos_lidar.models.wan_vae.layers import CausalConv3d, Downsample, FrameAttention, FrameConv, ResBlock, Upsample
from cosmos_lidar.models.wan_vae.memory import StreamMemory
from cosmos_lidar.models.wan_vae.network import COLORS

_POSITIONS = 40_000  # that a convolution is fitted on
_RIDGE = 1e-3  # of the mean square of its inputs
_SMALL = 0.3  # deviation of what channels give that nothing is asked of
_LOG_VARIANCE = -5.0  # of the latents, at the beginning


@torch.no_grad()
def fit_layers(vae: WanVAE, videos: Tensor) -> None:
    """Set all weights of a VAE of width 8 or more; the network is changed in place.

    Args:
        vae: ``build_vae("wan2_1", dim=8)``.
        videos: (N, 3, T, H, W) in [-1, 1], T of the form 4 k + 1.
    """
    for module in vae.modules():
        if isinstance(module, ResBlock):
            _begin_as_shortcut(module)
        elif isinstance(module, FrameAttention):
            nn.init.zeros_(module.proj.bias)
    places = _fit_encoder(vae, videos)
    count = vae.config.latent_channels
    _latents_as_they_are(vae)
    _fit_decoder(vae, vae.moments(videos, _whole())[:, :count], places, videos)


def _whole() -> StreamMemory:
    return StreamMemory(keep=False)


def _begin_as_shortcut(block: ResBlock) -> None:
    first, second = cast(CausalConv3d, block.residual["2"]), cast(CausalConv3d, block.residual["6"])
    _at_random(first, 1.0)
    nn.init.normal_(cast(Tensor, first.bias), std=0.5)
    nn.init.zeros_(second.weight)
    nn.init.zeros_(cast(Tensor, second.bias))
    if block.shortcut is not None:
        nn.init.dirac_(block.shortcut.weight)
        nn.init.zeros_(cast(Tensor, block.shortcut.bias))


def _at_random(conv: nn.Module, deviation: float) -> None:
    """Set weights that give this deviation for inputs of deviation 1, and a bias of 0."""
    weight, bias = cast(Tensor, conv.weight), cast(Tensor, conv.bias)
    nn.init.normal_(weight, std=deviation * weight[0].numel() ** -0.5)
    nn.init.zeros_(bias)


# --------------------------------------------------------------------------------------------------------- encoder


def _fit_encoder(vae: WanVAE, videos: Tensor) -> list[Tensor]:
    """Return the channels that are used at each place of the encoder, from fine to coarse."""
    first, used = vae.encoder.conv1, COLORS
    _at_random(first, _SMALL)
    first.weight[: 1 + used] = 0.0
    first.weight[1 : 1 + used, :, -1, 1, 1] = torch.eye(used)
    first.bias[0] = 1.0  # type: ignore[index]
    x = first(videos, _whole())
    places = [x[:, : 1 + used]]
    for layer in vae.encoder.downsamples:
        if isinstance(layer, Downsample):
            used = _fit_step(layer, x, used)
            places.append(layer.resample["1"](x))
        x = layer(x, _whole())
        if isinstance(layer, Downsample) and layer.time_conv is not None:
            places.append(x)
    head, count = vae.encoder.head, vae.config.latent_channels
    features = _rows(x)[:, 1 : 1 + used]
    mean, values, vectors = _principal(features)
    latents = ((features - mean) @ vectors[:, :count]) / values[:count].clamp_min(1e-12).sqrt()
    target = latents.unflatten(0, (len(x), *x.shape[2:])).permute(0, 4, 1, 2, 3)
    conv = cast(CausalConv3d, head["2"])
    _at_random(conv, _SMALL)
    _fit(conv, _extended(conv, head["0"](x, activate=True)), target)
    return places


def _fit_step(layer: Downsample, x: Tensor, used: int) -> int:
    """Set the weights of a step between levels; return how many channels are used behind it."""
    conv = cast(FrameConv, layer.resample["1"])
    width = conv.weight.shape[0] - 1
    differences = width // 3 if layer.time_conv is not None else 0
    kept = min(4 * used, width - differences)
    blocks = F.unfold(x[:, 1 : 1 + used].transpose(1, 2).flatten(0, 1), 2, stride=2).transpose(1, 2).flatten(0, 1)
    mean, _, vectors = _principal(blocks)
    _at_random(conv, _SMALL)
    conv.weight[: 1 + kept] = 0.0
    matrix = vectors[:, :kept].T / 2
    conv.weight[1 : 1 + kept, 1 : 1 + used, :2, :2] = matrix.unflatten(1, (used, 2, 2))
    conv.bias[1 : 1 + kept] = -matrix @ mean  # type: ignore[index]
    conv.bias[0] = 1.0  # type: ignore[index]
    if layer.time_conv is None:
        return kept
    conv.weight[1 + kept :] = 0.0  # the first frame of a video has no difference
    time, names = layer.time_conv, torch.arange(1, 1 + kept)
    nn.init.zeros_(time.weight)
    nn.init.zeros_(cast(Tensor, time.bias))
    time.bias[0] = 1.0  # type: ignore[index]
    time.weight[names, names, 1:] = 0.5
    differences = min(differences, kept)
    names = torch.arange(1, 1 + differences)
    time.weight[kept + names, names, 1] = -0.5
    time.weight[kept + names, names, 2] = 0.5
    return kept + differences


def _principal(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, variances and components (D, D) of rows (N, D), the largest first."""
    mean = rows.double().mean(0)
    spread = rows.double() - mean
    values, vectors = torch.linalg.eigh(spread.T @ spread / len(rows))
    return mean.float(), values.flip(0).float(), vectors.flip(1).float()


def _rows(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 4, 1).flatten(0, 3)


def _latents_as_they_are(vae: WanVAE) -> None:
    """Let the encoder's first channels be the mean, and the variance the same everywhere."""
    count = vae.config.latent_channels
    for conv in (vae.conv1, vae.conv2):
        nn.init.dirac_(conv.weight)
        nn.init.zeros_(cast(Tensor, conv.bias))
    vae.conv1.weight[count:] = 0.0
    vae.conv1.bias[count:] = _LOG_VARIANCE  # type: ignore[index]


# --------------------------------------------------------------------------------------------------------- decoder


def _fit_decoder(vae: WanVAE, latents: Tensor, places: list[Tensor], videos: Tensor) -> None:
    decoder, wanted = vae.decoder, places.copy()
    target = wanted.pop()
    _at_random(decoder.conv1, _SMALL)
    _fit(decoder.conv1, _extended(decoder.conv1, latents), target)
    x = decoder.conv1(latents, _whole())
    for layer in (*decoder.middle, *decoder.upsamples):
        if isinstance(layer, ResBlock):
            _fit_block(layer, x, target)
        elif isinstance(layer, Upsample):
            between = wanted.pop() if layer.time_conv is not None else None
            target = wanted.pop()
            _fit_upsample(layer, x, between, target)
        x = layer(x) if isinstance(layer, FrameAttention) else layer(x, _whole())
    conv = cast(CausalConv3d, decoder.head["2"])
    _fit(conv, _extended(conv, decoder.head["0"](x, activate=True)), videos)


def _fit_block(block: ResBlock, x: Tensor, target: Tensor) -> None:
    layers = block.residual
    first, second = cast(CausalConv3d, layers["2"]), cast(CausalConv3d, layers["6"])
    h = first(layers["0"](x, activate=True), _whole())
    inputs = _extended(second, layers["3"](h, activate=True))
    passed = x if block.shortcut is None else block.shortcut(x, _whole())
    _at_random(second, _SMALL)
    _fit(second, inputs, target - passed[:, : target.shape[1]])


def _fit_upsample(layer: Upsample, x: Tensor, between: Tensor | None, target: Tensor) -> None:
    if layer.time_conv is not None and between is not None:
        conv = layer.time_conv
        _at_random(conv, _SMALL)
        rest = F.pad(x[:, :, 1:], (0, 0, 0, 0, conv.past, 0))
        for number in range(2):
            _fit(conv, rest, between[:, :, 1 + number :: 2], number * conv.weight.shape[1])
        x = layer._double_time(conv, x, _whole())
    whole = F.interpolate(x, scale_factor=(1.0, 2.0, 2.0), mode="nearest-exact")
    conv = cast(FrameConv, layer.resample["1"])
    _at_random(conv, _SMALL)
    _fit(conv, F.pad(whole, (1, 1, 1, 1)), target)


def _extended(conv: CausalConv3d, x: Tensor) -> Tensor:
    """Return (B, C, T, H, W) with the zeros around it that a convolution sees."""
    rows, columns = conv.padding[1:]
    return F.pad(x, (columns, columns, rows, rows, conv.past, 0))


def _fit(conv: nn.Module, inputs: Tensor, target: Tensor, first: int = 0) -> None:
    """Set the weights of some channels of a convolution to those of the least squared error.

    Args:
        conv: changed in place.
        inputs: (B, C, …), with what is around them.
        target: (B, K, T, H, W) of channels ``first`` to ``first + K - 1``.
        first: channel.
    """
    weight, bias = cast(Tensor, conv.weight), cast(Tensor, conv.bias)
    count = target.shape[1]
    kernel = weight.shape[2:] if weight.ndim == 5 else (1, *weight.shape[2:])
    patches = inputs
    for axis, size in enumerate(kernel, start=2):
        patches = patches.unfold(axis, size, 1)
    places = [torch.randint(size, (_POSITIONS,)) for size in (len(target), *target.shape[2:])]
    x = patches[places[0], :, places[1], places[2], places[3]].flatten(1).double()
    y = target[places[0], :, places[1], places[2], places[3]].double()
    x_mean, y_mean = x.mean(0), y.mean(0)
    x, y = x - x_mean, y - y_mean
    square = x.T @ x
    ridge = _RIDGE * square.diagonal().mean() * torch.eye(len(square), dtype=torch.double)
    solution = torch.linalg.solve(square + ridge, x.T @ y)
    weight[first : first + count] = (
        solution.T.float().unflatten(1, (inputs.shape[1], *kernel)).reshape(count, *weight.shape[1:])
    )
    bias[first : first + count] = (y_mean - x_mean @ solution).float()
