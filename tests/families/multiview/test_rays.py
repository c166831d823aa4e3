"""Rays of the cameras of a rig, and networks that take them: any cameras, any number, and the published function."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cosmos_lidar.clips.fit_images import fit_lens
from cosmos_lidar.errors import DataError
from cosmos_lidar.families.multiview.rays import batch_rays, rig_rays
from cosmos_lidar.synth import ftheta_rig, pinhole_rig


def test_rays_are_those_of_the_images_that_the_network_gets() -> None:
    """An f-theta camera whose image is stretched, and one that is cut: a point on a ray is in its token."""
    cameras = [*ftheta_rig(("left",), 640), *pinhole_rig(("front",), 320)]
    for fit in ("stretch", "cover"):
        lenses = [fit_lens(camera.model, (64, 96), fit) for camera in cameras]
        mounts = np.stack([camera.vehicle_SE3_camera for camera in cameras])
        rays = rig_rays(lenses, mounts, ["a", "b"]).double().numpy()
        assert rays.shape == (2, 4, 6, 6)
        for lens, pose, own in zip(lenses, mounts, rays, strict=True):
            points = own[..., :3] + 9.0 * own[..., 3:]
            uv, _ = lens.project((points - pose[:3, 3]) @ pose[:3, :3])
            assert np.allclose(uv[..., 0], 16 * np.arange(6) + 7.5, atol=2e-2)
            assert np.allclose(uv[..., 1], 16 * np.arange(4)[:, None] + 7.5, atol=2e-2)


def test_of_a_batch() -> None:
    (camera,) = pinhole_rig(("left",), 96, 64)
    mounts = torch.from_numpy(np.stack([camera.vehicle_SE3_camera, np.eye(4)]))[:, None]
    batch = SimpleNamespace(
        lenses=[[camera.model]] * 2, mounts=mounts, cameras=[["left"]] * 2, clip_ids=["a", "b"]
    )  # fmt: skip
    rays = batch_rays(batch)
    assert rays.shape == (2, 1, 4, 6, 6)
    assert not rays[1, ..., :3].any()
    turned = rays[1, ..., 3:] @ torch.from_numpy(camera.vehicle_SE3_camera[:3, :3]).float().T
    assert torch.allclose(turned, rays[0, ..., 3:], atol=1e-6)


def test_cameras_without_calibration_are_named() -> None:
    (camera,) = pinhole_rig(("left",), 96, 64)
    with pytest.raises(DataError, match=r"camera left has no lens.*clip x"):
        rig_rays([None], np.eye(4)[None], ["left"], "x")
    with pytest.raises(DataError, match=r"camera left has no mounting"):
        rig_rays([camera.model], None, ["left"])
