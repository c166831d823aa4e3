"""Rays of the tokens of several views, in the axes of the vehicle: what distinguishes the cameras of any rig."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cosmos_lidar.clips.fit_images import Lens
from cosmos_lidar.errors import DataError
from cosmos_lidar.models.dit.rays import RAY
from cosmos_lidar.sensors.camera_rays import camera_rays
from cosmos_lidar.shards.latents import RAYS

TOKEN_PX = 16  # pixels of a token: 8 of a latent, 2 latents of a patch
_CACHED = 256  # cameras whose rays are kept: 0.1 MB each at 720p


def batch_rays(batch: Any) -> Tensor:
    """Return the rays (B, V, rows, columns of tokens, 6) float32 of a batch of ``energon_tasks.multiview``.

    Raises:
        DataError: a camera without lens or mounting; names clip and camera.
    """
    samples = zip(batch.lenses, batch.cameras, batch.clip_ids, strict=True)
    mounts = None if batch.mounts is None else batch.mounts.double().cpu().numpy()
    return torch.stack([
        rig_rays(lenses, None if mounts is None else mounts[number], cameras, clip)
        for number, (lenses, cameras, clip) in enumerate(samples)
    ])  # fmt: skip


def rig_rays(
    lenses: Sequence[Lens | None], mounts: np.ndarray | None, cameras: Sequence[str], clip: str = ""
) -> Tensor:
    """Return the rays (V, rows, columns of tokens, 6) float32 of the cameras of a vehicle.

    Args:
        lenses: for images of the network's size.
        mounts: (V, 4, 4) camera axes to vehicle axes.
        cameras: names, for messages.
        clip: for messages.

    Raises:
        DataError: a camera without lens or mounting.
    """
    rays = []
    for place, (lens, camera) in enumerate(zip(lenses, cameras, strict=True)):
        if lens is None or mounts is None:
            missing = "lens" if lens is None else "mounting"
            wanted = "calibrated cameras (`cosmos-lidar prepare --task multiview`), or model.rays=false"
            raise DataError(f"camera {camera} has no {missing}", clip=clip, key=camera, wanted=wanted)
        rays.append(_rays_of(lens, np.ascontiguousarray(mounts[place], np.float64).tobytes()))
    return torch.from_numpy(np.stack(rays))


def check_ray_shape(
    found: Sequence[int] | None, views: int, latent: Sequence[int], clip: str | None = None, file: Path | None = None
) -> None:
    """Refuse rays of latents that are not (V, rows, columns of tokens, 6).

    Args:
        found: shape of the rays that go with the latents; None where there are none.
        views: number of cameras.
        latent: (height, width) of the latents of a view.
        clip: for messages.
        file: for messages.

    Raises:
        DataError: no rays, or of other views or sizes.
    """
    wanted = views, *(-(-side // 2) for side in latent), RAY
    if found is None or tuple(found) != wanted:
        problem = "no rays of the cameras with the latents" if found is None else f"rays of shape {tuple(found)}"
        needed = f"rays of shape {wanted} (`cosmos-lidar encode-clips` of calibrated cameras), or model.rays=false"
        raise DataError(problem, file=file, clip=clip, key=RAYS, wanted=needed)


@lru_cache(maxsize=_CACHED)
def _rays_of(lens: Lens, mount: bytes) -> np.ndarray:
    pose = np.frombuffer(mount, np.float64).reshape(4, 4)
    return camera_rays(lens, pose, (lens.height, lens.width), TOKEN_PX)
