"""Patches of latents, the tokens of a diffusion transformer, cut out of stacked channels and put together again."""

from __future__ import annotations

from torch import Tensor, nn


def cut_patches(stacked: Tensor, spatial: int, temporal: int) -> Tensor:
    """Return (B, L, C q p p): tokens in the order (time, row, column), channels slowest within a token.

    Args:
        stacked: (B, C, T q, H p, W p).
        spatial: p, latent pixels per token, along height and along width.
        temporal: q, latent frames per token.
    """
    p, q = spatial, temporal
    patches = stacked.unflatten(4, (-1, p)).unflatten(3, (-1, p)).unflatten(2, (-1, q))
    # (B, C, T, q, H, p, W, p) -> tokens of channel-major patches
    return patches.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).flatten(1, 3)


def join_patches(patches: Tensor, grid: tuple[int, int, int], spatial: int, temporal: int) -> Tensor:
    """Return (B, C, T q, H p, W p).

    Args:
        patches: (B, L, p p q C), channels fastest, as networks of this kind give them.
        grid: (T, H, W) tokens.
        spatial: p.
        temporal: q.
    """
    p, q = spatial, temporal
    frames, height, width = grid
    shaped = patches.view(-1, frames, height, width, p, p, q, patches.shape[-1] // (p * p * q))
    shaped = shaped.permute(0, 7, 1, 6, 2, 4, 3, 5)
    return shaped.reshape(len(shaped), -1, frames * q, height * p, width * p)


def padding_channel(padding: Tensor | None, x: Tensor) -> Tensor:
    """Return (B, 1, T, H, W) of the latents x: the padding mask (B, 1, rows, columns) of the images; zeros without."""
    batch, _, frames, height, width = x.shape
    if padding is None:
        return x.new_zeros(batch, 1, frames, height, width)
    resized = nn.functional.interpolate(padding.to(x), size=(height, width), mode="nearest")
    return resized[:, :, None].expand(-1, -1, frames, -1, -1)
