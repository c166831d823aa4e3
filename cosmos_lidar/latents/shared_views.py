"""Encoding of one clip by several ranks: each takes some of the views, and all get the latents of all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from cosmos_lidar.latents.video_space import VideoLatentSpace
from cosmos_lidar.parallel.exchange import gather_tensors


def encode_views_shared(
    space: VideoLatentSpace, videos: Tensor, group: dist.ProcessGroup, hashes: Sequence[str] | None = None
) -> Tensor:
    """Return normalized latents (16, V · t, h, w) float32, on the device of the network; collective.

    Rank r of n encodes the views r, r + n, … and reads or stores their entries in the cache. There may be more views
    than ranks, as many, or fewer.

    Args:
        space: the same on every rank.
        videos: (V, 3, T, H, W), the same on every rank.
        group: the ranks that share the clip, such as those of a context-parallel group.
        hashes: of the content of each view, where known, see :meth:`VideoLatentSpace.encode`.

    Raises:
        DataError: see :meth:`VideoLatentSpace.encode`; on every rank.
    """
    ranks, views = group.size(), len(videos)
    most, device = -(-views // ranks), next(space.vae.parameters()).device
    own = torch.zeros(most, *_latent_shape(space, videos), device=device)
    mine = range(group.rank(), views, ranks)
    if mine:
        z = space.encode(videos[list(mine)], None if hashes is None else [hashes[view] for view in mine]).to(device)
        own[: len(mine)] = z.unflatten(1, (len(mine), -1)).transpose(0, 1)
    shares = torch.stack(gather_tensors(own, group), dim=1)  # (most, ranks, 16, t, h, w): views in order
    return torch.cat(shares.flatten(0, 1)[:views].unbind(0), dim=1)


def _latent_shape(space: VideoLatentSpace, videos: Tensor) -> tuple[int, ...]:
    """Return (16, t, h, w), after the check that every rank does, those without a view of their own, too."""
    space.check(videos)
    return space.vae.config.latent_shape(*videos.shape[2:])
