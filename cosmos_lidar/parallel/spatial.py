"""One image or clip shared by several ranks: each holds an equal slice of the columns.

The convolutional tokenizers are changed from outside, in place; parameters keep their names. Layers with a hook get it
set: ``halo`` of convolutions, ``gather`` of attention; layers that are ``pixelwise`` need nothing; others are patched.
What reaches beyond a slice exchanges data between ranks: convolutions take a column from their neighbors, norms share
their sums, attention over all positions gathers keys and values. Latents and reconstructions are those of one rank, up
to rounding.

Gradients: let every rank compute a loss. The parameter gradients, *summed* over the ranks, are those of the sum
of these losses. So losses that are means over a slice, or the same loss of the joined image on each rank, want the
*mean* of the gradients, which is what sharded weights take.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.tokenizer.image_layers import AttnBlock, Downsample
from cosmos_lidar.models.tokenizer.video_layers import HybridDown, SpatialAttention, fold_frames, unfold_frames
from cosmos_lidar.parallel.exchange import gather_tensors, sum_tensors

Conv = nn.Conv2d | nn.Conv3d


def split_width(network: nn.Module, group: dist.ProcessGroup) -> None:
    """Let a tokenizer work on slices of the width: ``encode`` and ``decode`` then take and return this rank's.

    Args:
        network: changed in place.
        group: the ranks that share a sample.

    Raises:
        UserError: the network has a layer without a rule; it is named.
    """
    rules = _rules(network, group)
    for module, forward in rules.items():
        name = "attend" if isinstance(module, SpatialAttention) else "forward"
        setattr(module, name, forward)


def check_width(width: int, ranks: int, compression: int) -> None:
    """Refuse a width that cannot be divided.

    Args:
        width: of the images.
        ranks: ranks that share each.
        compression: columns of one latent column.

    Raises:
        UserError: the message names valid sizes.
    """
    step = ranks * compression
    if width % step or not width:
        below, above = width // step * step, (width // step + 1) * step
        sizes = f"{below} or {above}" if below else str(above)
        raise UserError(
            f"a width of {width} cannot be shared by {ranks} processes (parallel.context) in whole latent columns of "
            f"{compression}; valid: {sizes}"
        )


def take_slice(x: Tensor, group: dist.ProcessGroup, dim: int = -1) -> Tensor:
    """Return this rank's share of ``x``, which all ranks have whole.

    Raises:
        UserError: it cannot be divided.
    """
    check_width(x.shape[dim], group.size(), 1)
    return x.chunk(group.size(), dim=dim)[group.rank()].contiguous()


def join_slices(x: Tensor, group: dist.ProcessGroup, dim: int = -1) -> Tensor:
    """Return the whole of which every rank holds a slice."""
    return torch.cat(gather_tensors(x, group), dim=dim)


def _rules(network: nn.Module, group: dist.ProcessGroup) -> dict[nn.Module, Callable]:
    """Return how each module that reaches beyond its slice, or has weights, is to work."""
    rules: dict[nn.Module, Callable] = {}
    covered: set[nn.Module] = set()
    for name, module in network.named_modules():
        if _set_hook(module, group) or getattr(module, "pixelwise", False):
            continue
        if isinstance(module, Downsample):
            rules[module] = partial(_downsample, module, group)
            covered.add(module.conv)
        elif isinstance(module, HybridDown) and module.scaling.spatial:
            rules[module] = partial(_hybrid_down, module, group)
            covered.add(module.conv1.conv3d)
        elif isinstance(module, AttnBlock):
            rules[module] = partial(_image_attention, module, group)
        elif isinstance(module, SpatialAttention):
            rules[module] = partial(_video_attention, group)
        elif isinstance(module, nn.GroupNorm):
            rules[module] = partial(_group_norm, module, group)
        elif isinstance(module, (nn.Conv2d, nn.Conv3d)) and module not in covered:
            if module.kernel_size[-1] > 1:
                rules[module] = partial(_convolve, _checked(module, name), group)
        elif next(module.parameters(recurse=False), None) is not None and module not in covered:
            raise UserError(f"parallel.context: no rule for layer {name} ({type(module).__name__}): parallel.context=1")
    return rules


def _set_hook(module: nn.Module, group: dist.ProcessGroup) -> bool:
    """Set the hook of a layer that has one."""
    if hasattr(module, "halo"):
        module.halo = partial(_with_neighbors, group=group)
    elif hasattr(module, "gather"):
        module.gather = partial(_gathered, group=group)
    else:
        return False
    return True


def _checked(module: Conv, name: str) -> Conv:
    width = -1
    simple = module.stride[width] == 1 and module.dilation[width] == 1 and module.padding_mode == "zeros"
    if not simple or 2 * module.padding[width] != module.kernel_size[width] - 1:
        raise UserError(f"parallel.context: no rule for convolution {name} ({module}): parallel.context=1")
    return module


def _with_neighbors(x: Tensor, left: int, right: int, group: dist.ProcessGroup) -> Tensor:
    """Put ``left`` columns of the left neighbor before ``x`` and ``right`` of the right one behind; zeros at the ends.

    Every rank gives all its edges to all others: they are thin, and the gradient finds its way back by itself.
    """
    widest = max(left, right)
    if x.shape[-1] < widest:
        raise UserError(f"a slice of {x.shape[-1]} columns is too narrow: fewer processes (parallel.context), or wider")
    edges = gather_tensors(torch.stack([x[..., :widest], x[..., -widest:]]), group)
    rank, ranks = group.rank(), group.size()
    nothing = torch.zeros_like(x[..., :widest])
    before = edges[rank - 1][1] if rank else nothing
    behind = edges[rank + 1][0] if rank + 1 < ranks else nothing
    # every rank has to take part in the backward pass of every exchange, also the one that uses nothing of it
    tie = edges[rank].flatten()[0] * 0.0
    parts = [before[..., widest - left :], x, behind[..., :right]]
    return torch.cat(parts, dim=-1) + tie


def _convolve(module: Conv, group: dist.ProcessGroup, x: Tensor) -> Tensor:
    reach = module.padding[-1]
    convolve = F.conv2d if isinstance(module, nn.Conv2d) else F.conv3d
    padding = (*module.padding[:-1], 0)
    wide = _with_neighbors(x, reach, reach, group)
    return convolve(wide, module.weight, module.bias, module.stride, padding, module.dilation, module.groups)


def _downsample(module: Downsample, group: dist.ProcessGroup, x: Tensor) -> Tensor:
    return module.conv(F.pad(_with_neighbors(x, 0, 1, group), (0, 0, 0, 1)))


def _hybrid_down(module: HybridDown, group: dist.ProcessGroup, x: Tensor) -> Tensor:
    wide = F.pad(_with_neighbors(x, 0, 1, group), (0, 0, 0, 1))
    return module.after_spatial(module.conv1(wide) + module.spatial_mean(x))


def _group_norm(module: nn.GroupNorm, group: dist.ProcessGroup, x: Tensor) -> Tensor:
    """Two rounds, mean then variance, as one round of sums and squares would cancel."""
    wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    grouped = wide.reshape(x.shape[0], module.num_groups, -1)
    mean = sum_tensors(grouped.mean(-1, keepdim=True), group) / group.size()
    centered = grouped - mean
    variance = sum_tensors(centered.square().mean(-1, keepdim=True), group) / group.size()
    normed = (centered * torch.rsqrt(variance + module.eps)).reshape(x.shape)
    shape = (1, -1, *[1] * (x.ndim - 2))
    return (normed * module.weight.view(shape) + module.bias.view(shape)).to(x.dtype)


def _image_attention(module: AttnBlock, group: dist.ProcessGroup, x: Tensor) -> Tensor:
    h = module.norm(x)
    q, k, v = (layer(h).flatten(2).transpose(1, 2)[:, None] for layer in (module.q, module.k, module.v))
    h = F.scaled_dot_product_attention(q, *_gathered(k, v, group))[:, 0]
    return x + module.proj_out(h.transpose(1, 2).reshape(x.shape))


def _video_attention(group: dist.ProcessGroup, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    rows, keys, values = (fold_frames(part).flatten(2).transpose(1, 2)[:, None] for part in (q, k, v))
    h = F.scaled_dot_product_attention(rows, *_gathered(keys, values, group))[:, 0].transpose(1, 2)
    return unfold_frames(h.reshape(fold_frames(q).shape), q)


def _gathered(k: Tensor, v: Tensor, group: dist.ProcessGroup) -> tuple[Tensor, Tensor]:
    """Keys and values (B, 1, L / n, C) of all ranks, (B, 1, L, C); their order does not matter."""
    k, v = torch.cat(gather_tensors(torch.stack([k, v]), group), dim=3)
    return k, v
