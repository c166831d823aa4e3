"""Rays of image tokens: a point on a ray is seen where the middle of the token lies."""

from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.sensors.camera_rays import camera_rays
from cosmos_lidar.synth import ftheta_rig, pinhole_rig


@pytest.mark.parametrize("rig", [ftheta_rig(("left",), 1920), pinhole_rig(("left",), 960)], ids=["ftheta", "pinhole"])
def test_of_images_scaled_and_cut(rig: tuple):
    (camera,) = rig
    pose = camera.vehicle_SE3_camera
    rays = camera_rays(camera.model, pose, (704, 1280), 16)
    assert rays.shape == (44, 80, 6)
    assert np.allclose(rays[..., :3], pose[:3, 3])
    assert np.allclose(np.linalg.norm(rays[..., 3:], axis=-1), 1.0, atol=1e-6)
    points = rays[..., :3] + 7.0 * rays[..., 3:]
    uv, _ = camera.model.project((points - pose[:3, 3]) @ pose[:3, :3])
    scale = camera.model.width / 1280  # 16:9 images become 720 x 1280, and lose 8 rows above and below
    wanted_u, wanted_v = np.meshgrid((np.arange(80) + 0.5) * 16, (np.arange(44) + 0.5) * 16 + 8)
    assert np.allclose(uv[..., 0], wanted_u * scale - 0.5, atol=2e-2)
    assert np.allclose(uv[..., 1], wanted_v * scale - 0.5, atol=2e-2)
