import numpy as np
import pytest

from cosmos_lidar.sensors import PinholeCamera
from cosmos_lidar.synth import build_scene, ftheta_rig, pinhole_rig, render
from tests.synth.street import world_points
from tests.synth.test_labels import MOVING


@pytest.mark.parametrize("lens", ["ftheta", "pinhole"])
def test_cameras_agree_with_the_lidar(exact, lens):
    """A camera at the place of the lidar sees every point of the lidar at the same depth, and of the same class."""
    rig = ftheta_rig(("front",), 640)[0] if lens == "ftheta" else pinhole_rig(("front",), 640, 360)[0]
    scene = exact.read_sweep.__self__.scene
    points, labels = world_points(exact, 2)
    middle = exact.world_SE3_lidar[2].mean(0)
    world_SE3_camera = scene.world_SE3_vehicle(0.25) @ rig.vehicle_SE3_camera
    world_SE3_camera[:3, 3] = middle[:3, 3]
    image = render(scene, rig.model, world_SE3_camera, 0.25, shadows=False)
    inside = np.linalg.inv(world_SE3_camera)
    uv, depth = rig.model.project(points @ inside[:3, :3].T + inside[:3, 3])
    with np.errstate(invalid="ignore"):
        pixel = np.rint(uv)
        seen = (depth > 0.5) & (pixel >= 0).all(1) & (pixel < [rig.model.width, rig.model.height]).all(1)
    seen &= ~np.isin(labels, MOVING)
    column, row = pixel[seen].astype(int).T
    assert seen.sum() > 4000
    error = np.abs(image.depth_m[row, column] - depth[seen]) / depth[seen]
    assert (error < 0.03).mean() > 0.975
    assert (image.labels[row, column] == labels[seen]).mean() > 0.975


def test_image_has_sky_above_and_road_below():
    scene = build_scene(2, 1.0)
    rig = pinhole_rig(("front",), 160, 90)[0]
    image = render(scene, rig.model, scene.world_SE3_vehicle(0.0) @ rig.vehicle_SE3_camera, 0.0)
    assert image.rgb.shape == (90, 160, 3)
    assert image.rgb.dtype == np.uint8
    assert np.array_equal(image.labels == 0, np.isinf(image.depth_m))
    sky = image.rgb[image.labels == 0].astype(float).mean(0)
    assert sky[2] > sky[0] + 20
    assert (image.labels[-1] == 40).mean() > 0.5
    bright = render(scene, rig.model, scene.world_SE3_vehicle(0.0) @ rig.vehicle_SE3_camera, 0.0, shadows=False)
    assert (bright.rgb.astype(int) >= image.rgb).all()
    assert (bright.rgb > image.rgb).any()


def test_a_narrow_camera_at_full_size():
    lens = PinholeCamera.from_fov(200, 120, np.radians(20))
    scene = build_scene(2, 1.0)
    pose = scene.world_SE3_vehicle(0.0) @ pinhole_rig(("front",))[0].vehicle_SE3_camera
    narrow, wide = render(scene, lens, pose, 0.0), render(scene, lens.resized(100, 60), pose, 0.0)
    same = narrow.labels[1::2, 1::2] == wide.labels
    assert same.mean() > 0.9
