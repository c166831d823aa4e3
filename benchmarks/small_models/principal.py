"""Tokenizers that start as principal components of their 8 x 8 patches, by exact weights, in place of random ones.

Networks of this family end encoder and decoder in group norm and swish. Four channels (c, -c, B, -B) of a group with a
constant B that is large beside c come out of the norm in proportion to c, whatever the image, and swish(x) - swish(-x)
is x: so the last convolution is given c, and the whole network is linear. Residual blocks begin as their shortcuts, for
training to go on from there. Latents are the components, scaled to mean 0 and deviation 1.

The last convolution of the decoder is fitted to the latents of 3 x 3 positions: linear models of each pixel, whose
losses are convex, by L-BFGS. Of its 32 groups the latents take 16; a residual block can fill the others with their
magnitudes, z tanh(2 z), for what depends on the size of a latent and not on its sign, as errors do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosmos_lidar.models.tokenizer import Tokenizer

SHAPE = {"patch_size": 8, "channels": 128, "channels_mult": (1,), "num_res_blocks": 1, "mid_attention": False}
_GROUPS, _LARGE = 32, 64.0  # groups of the norm; B, in deviations of c
_DEVIATION = ((1.0 + _LARGE**2) / 2) ** 0.5  # of the channels of a group: c has deviation 1
_STEEPNESS = 4.0  # s of the magnitudes z tanh(s z / 2) = (swish(s z) + swish(-s z)) / s


@torch.no_grad()
def start_from_principal(network: Tokenizer, inputs: Iterable[Tensor], weights: tuple[float, float, float]) -> None:
    """Set all weights of a tokenizer of 128 channels and patches of 8 pixels; the network is changed in place.

    Args:
        network: with one level, as ``build_tokenizer("CI8x8", patch_size=8, channels=128, channels_mult=(1,))``.
        inputs: images (B, 3, H, W) as its encoder is given them, after coding.
        weights: of the squared errors of the three channels.
    """
    scale = torch.tensor(weights).sqrt().repeat_interleave(1)
    each = _per_patch_channel(scale, network)
    patches = torch.cat([network.encoder.patcher(x).permute(0, 2, 3, 1).flatten(0, 2) for x in inputs]).double()
    mean = patches.mean(0)
    spread = (patches - mean) * each
    values, vectors = torch.linalg.eigh(spread.T @ spread / len(spread))
    count = network.config.latent_channels
    values, vectors = values.flip(0)[:_GROUPS], vectors.flip(1)[:, :_GROUPS]
    deviation = values.clamp(min=1e-12).sqrt()
    project = (vectors * each[:, None]).T / deviation[:, None]  # (32, patch channels), of deviation 1
    restore = vectors[:, :count] / each[:, None] * deviation[:count]
    for name, parameter in network.named_parameters():
        if ".conv2." in name:
            nn.init.zeros_(parameter)
    _linear_in(network.encoder.conv_in, project, -project @ mean)
    _linear_out(network.encoder.conv_out, torch.eye(_GROUPS, dtype=torch.double)[:count], torch.zeros(count).double())
    places = torch.zeros(_GROUPS, count).double()
    places[:count] = torch.eye(count)
    _linear_in(network.decoder.conv_in, places, torch.zeros(_GROUPS).double())
    columns = torch.zeros(len(mean), _GROUPS).double()
    columns[:, :count] = restore
    _linear_out(network.decoder.conv_out, columns, mean)
    for layer in (network.quant_conv, network.post_quant_conv):
        nn.init.dirac_(layer.weight)
        nn.init.zeros_(layer.bias)


def _per_patch_channel(scale: Tensor, network: Tokenizer) -> Tensor:
    """Return the weight of each channel of a patch: bands come first, then the three channels of the image."""
    bands = network.config.patch_channels // 3
    return scale.repeat(bands).double()


def _linear_in(conv: nn.Conv2d, matrix: Tensor, offset: Tensor) -> None:
    """Let a convolution give (c, -c, B, -B) of each component c = matrix x + offset."""
    nn.init.zeros_(conv.weight)
    middle = conv.weight[:, :, 1, 1].unflatten(0, (_GROUPS, 4))
    middle[:, 0], middle[:, 1] = matrix.float(), -matrix.float()
    constant = torch.full_like(offset, _LARGE)
    conv.bias.copy_(torch.stack((offset, -offset, constant, -constant), dim=1).flatten().float())


def _linear_out(conv: nn.Conv2d, matrix: Tensor, offset: Tensor) -> None:
    """Let a convolution after norm and swish of such channels give matrix c + offset.

    Args:
        conv: changed in place.
        matrix: (outputs, 32) of the same position, or (outputs, 32, 3, 3) of the positions around it.
        offset: (outputs,).
    """
    nn.init.zeros_(conv.weight)
    if matrix.ndim == 2:
        matrix = F.pad(matrix[:, :, None, None], (1, 1, 1, 1))
    channels = conv.weight.unflatten(1, (_GROUPS, 4))
    channels[:, :, 0], channels[:, :, 1] = (matrix * _DEVIATION).float(), (-matrix * _DEVIATION).float()
    conv.bias.copy_(offset.float())


@torch.no_grad()
def context_of(network: Tokenizer, images: Iterable[Tensor]) -> Tensor:
    """Return (N, 145) of all positions of images: the latents of 3 x 3 positions, zeros outside of the image, and 1."""
    parts = [F.unfold(network.encode(image), 3, padding=1).transpose(1, 2).flatten(0, 1) for image in images]
    found = torch.cat(parts)
    return torch.cat((found, torch.ones(len(found), 1)), dim=1)


def with_magnitudes(context: Tensor) -> Tensor:
    """Return (N, 289): a context (N, 145) with the magnitudes of its latents before the 1."""
    latents = context[:, :-1]
    return torch.cat((latents, latents * torch.tanh(_STEEPNESS / 2 * latents), context[:, -1:]), dim=1)


@torch.no_grad()
def add_magnitudes(network: Tokenizer) -> None:
    """Let the last residual block of a decoder give the magnitudes of the latents in the groups that are free.

    Args:
        network: that :func:`start_from_principal` has set; changed in place, its images stay the same.
    """
    block, count = network.decoder.up[0].block[-1], network.config.latent_channels
    for conv in (block.conv1, block.conv2):
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)
    taken = torch.arange(count) * 4
    for sign, channel in ((1.0, taken), (-1.0, taken + 1)):  # conv1 copies the latents' groups (c, -c, B, -B)
        block.conv1.weight[channel, taken, 1, 1] = sign * _DEVIATION
        block.conv1.weight[channel, taken + 1, 1, 1] = -sign * _DEVIATION
        block.conv1.bias[channel + 2] = sign * _LARGE
        block.norm2.weight[channel] = _STEEPNESS * _DEVIATION
    for sign, channel in ((1.0, taken + 4 * count), (-1.0, taken + 4 * count + 1)):
        block.conv2.weight[channel, taken, 1, 1] = sign / _STEEPNESS
        block.conv2.weight[channel, taken + 1, 1, 1] = sign / _STEEPNESS


def patches_of(values: Tensor) -> Tensor:
    """Return (N, 64): the 8 x 8 pixels of all positions of (B, 1, H, W)."""
    return F.unfold(values.float(), 8, stride=8).transpose(1, 2).flatten(0, 1)


def least_squares(context: Tensor, target: Tensor, ridge: float = 1e-3) -> Tensor:
    """Return the weights (145, 64) of linear models of pixels, by least squares."""
    square = (context.T @ context).double() / len(context)
    return torch.linalg.solve(
        square + ridge * torch.eye(len(square)), (context.T @ target).double() / len(context)
    ).float()


def fit(context: Tensor, loss: Callable[[Tensor], Tensor], weights: Tensor, iterations: int) -> Tensor:
    """Return the weights (K, 64) of linear models with the least loss, by L-BFGS from given ones.

    Args:
        context: (N, K), see :func:`context_of` and :func:`with_magnitudes`.
        loss: of the models' outputs (N, 64).
        weights: to start from.
        iterations: at most.
    """
    weights = weights.clone(memory_format=torch.contiguous_format).requires_grad_()
    optimizer = torch.optim.LBFGS([weights], max_iter=iterations, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(context @ weights)
        value.backward()
        return value

    optimizer.step(closure)
    return weights.detach()


@torch.no_grad()
def set_decoder(network: Tokenizer, channels: tuple[Tensor, Tensor, Tensor]) -> None:
    """Let a decoder give linear models of its three channels.

    Args:
        network: changed in place.
        channels: weights of the pixels of each, (145, 64), or with :func:`add_magnitudes` (289, 64).
    """
    rows = max(len(weights) for weights in channels)
    whole = [torch.cat((F.pad(one[:-1], (0, 0, 0, rows - len(one))), one[-1:])) for one in channels]
    pixels = torch.stack(whole, dim=1).unflatten(2, (8, 8))  # (K, 3, 8, 8)
    matrix = network.encoder.patcher(pixels)[:, :, 0, 0].T  # (patch channels, K)
    around = torch.zeros(len(matrix), _GROUPS, 3, 3)
    groups = (rows - 1) // 9
    around[:, :groups] = matrix[:, :-1].unflatten(1, (groups, 3, 3))
    _linear_out(network.decoder.conv_out, around, matrix[:, -1])
