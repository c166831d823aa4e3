"""Clips of several views as the network takes them, from batches of latents or of encoded videos."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from cosmos_lidar.errors import DataError
from cosmos_lidar.families.multiview.config import MultiviewDataConfig
from cosmos_lidar.families.multiview.rays import batch_rays, check_ray_shape


class ViewClips(NamedTuple):
    """A batch of clips.

    Attributes:
        latents: (B, C, V * T, H, W) float32, one view after the other.
        controls: (B, K, C, V * T, H, W) latents of K kinds of control videos, or None.
        text: (B, V * M, D), or None.
        view_indices: (B, V * T) rows of the view table.
        fps: frames per second of each clip.
        padding_mask: (B, 1, rows, columns) of the images, or None.
        rays: (B, V * T, rows, columns of tokens, 6), or None.
        sweeps: (B, C, T, h, w) latents of range images, or None.
        noise_seeds: of each clip.
    """

    latents: Tensor
    controls: Tensor | None
    text: Tensor | None
    view_indices: Tensor
    fps: list[float]
    padding_mask: Tensor | None
    rays: Tensor | None
    sweeps: Tensor | None
    noise_seeds: list[int]


def view_clips(batch: Any, data: MultiviewDataConfig, with_rays: bool = False, with_controls: bool = True) -> ViewClips:
    """Return the clips of a batch of latents, or of videos whose latents are there.

    Args:
        batch: of ``energon_tasks.latents``, whose views are those of ``data``, or of ``energon_tasks.multiview``.
        data: options of the run.
        with_rays: the network wants the rays of the cameras.
        with_controls: it takes the control videos of the batch, if there are any.

    Raises:
        DataError: latents of another shape, or rays of cameras that are not calibrated.
    """
    latents, controls = batch.latents, getattr(batch, "controls", None)
    if isinstance(latents, list):
        latents, controls = _of_videos(latents, data.views)
    if list(latents.shape[1:]) != data.clip_shape:
        wanted = f"{data.clip_shape}: {data.views} views (data.view_ids) of data.latent_shape={data.latent_shape}"
        raise DataError(f"latents of shape {list(latents.shape[1:])}", wanted=wanted)
    ids, rates = getattr(batch, "view_ids", None), getattr(batch, "fps", None)
    if ids is None:
        ids = torch.tensor([data.view_ids] * len(latents), device=latents.device)
    return ViewClips(
        latents,
        controls if with_controls else None,
        batch.text if data.text_shape else None,  # videos without text come with a row of zeros
        ids.repeat_interleave(data.state_t, dim=1),
        [data.fps] * len(latents) if rates is None else rates.tolist(),
        getattr(batch, "padding_mask", None),
        _rays(batch, data, latents.device) if with_rays else None,
        _sweeps(batch),
        batch.noise_seeds,
    )


def _of_videos(latents: list[Tensor], views: int) -> tuple[Tensor, Tensor | None]:
    """Return (B, C, V * T, H, W) and (B, K, C, V * T, H, W) of each sample's (V + K V, C, T, H, W)."""
    whole = torch.stack(latents).unflatten(1, (-1, views)).transpose(2, 3).flatten(3, 4)
    return whole[:, 0], whole[:, 1:] if whole.shape[1] > 1 else None


def _sweeps(batch: Any) -> Tensor | None:
    """Return the latents of the range images of all samples, or None where there are none."""
    found = getattr(batch, "sweep_latents", None)
    if isinstance(found, Tensor) or not found or any(latents is None for latents in found):
        return found if isinstance(found, Tensor) else None
    return torch.stack([latents[0] for latents in found])


def _rays(batch: Any, data: MultiviewDataConfig, device: torch.device) -> Tensor:
    """Return the rays of a batch, that of each view for all its latent frames."""
    rays = batch.rays if hasattr(batch, "rays") else batch_rays(batch)
    clip = next(iter(getattr(batch, "clip_ids", ())), None)
    check_ray_shape(None if rays is None else rays.shape[1:], data.views, data.latent_shape[2:], clip=clip)
    return rays.to(device).repeat_interleave(data.state_t, dim=1)
