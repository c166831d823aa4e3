"""Points of a sweep in the images of its moment: made numbers, synthetic drives and real frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.camera_pose import camera_in_sweep, project_sweep, vehicle_mount
from cosmos_lidar.clips.clip import CameraStream, Clip, Sweep, one_lidar_clip
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import PinholeCamera, uniform_sensor
from cosmos_lidar.synth import pinhole_rig, synthesize_drive

LENS = PinholeCamera(100.0, 100.0, 99.5, 49.5, 200, 100)
FORWARD = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])  # a camera in the lidar


def at(x: float) -> np.ndarray:
    pose = np.eye(4)
    pose[0, 3] = x
    return pose


def moving(compensated: bool = False) -> tuple[Clip, CameraStream]:
    """A car at 10 m/s: a sweep from 0 to 100 ms, an image at 100 ms from a camera in the place of the lidar."""
    sensor = replace(uniform_sensor(4, 16), first_azimuth_rad=np.pi)
    camera = CameraStream("front", np.array([100_000]), lambda _: None, LENS, (at(1.0) @ FORWARD)[None])
    clip = one_lidar_clip(
        "c", sensor, ("0",), np.array([[0, 100_000]]), lambda _: Sweep(), Path("x"), "made",
        np.stack([at(0.0), at(1.0)])[None], compensated, {"front": camera},
    )  # fmt: skip
    return clip, camera


def test_points_are_moved_to_the_moment_of_the_picture():
    clip, camera = moving()
    point = np.array([[10.0, 0.0, 1.0]])  # straight ahead: seen in mid-sweep, half a meter before the image
    seen = project_sweep(clip, camera, 0, 0, point)
    assert seen.depth == pytest.approx(9.5)
    assert seen.uv[0] == pytest.approx([99.5, 49.5 - 100 / 9.5])
    clip, camera = moving(compensated=True)  # at the start of the sweep: a whole meter
    assert project_sweep(clip, camera, 0, 0, point).depth == pytest.approx(9.0)


def test_the_camera_as_seen_from_the_lidar():
    clip, camera = moving()
    assert camera_in_sweep(clip, camera, 0, 0)[:3, 3] == pytest.approx([0.5, 0, 0])
    mounted = replace(camera, world_SE3_camera=None, lidar_SE3_camera=FORWARD)
    assert camera_in_sweep(clip, mounted, 0, 0) is FORWARD
    assert project_sweep(clip, mounted, 0, 0, np.array([[10.0, 0, 0]])).depth == pytest.approx(10.0)
    with pytest.raises(DataError, match="camera front has no place .*clip c.*the camera's mounting"):
        camera_in_sweep(clip, replace(mounted, lidar_SE3_camera=None), 0, 0)
    with pytest.raises(DataError, match="camera front has no lens"):
        project_sweep(clip, replace(camera, model=None), 0, 0, np.zeros((1, 3)))


def test_edges_of_a_synthetic_scene_are_where_the_picture_has_them():
    """Sky has no return: points that the camera sees do not fall into the sky of its image."""
    clip = synthesize_drive(5, uniform_sensor(32, 512), 2, cameras=pinhole_rig(("front",), 320), noise=None)
    (stream,) = clip.cameras.values()
    points = clip.points(1)
    image = int(np.abs(stream.timestamps_us - clip.timestamps_us[1].mean()).argmin())
    seen = project_sweep(clip, stream, 1, image, points)
    assert seen.visible.sum() > 300
    u, v = np.round(seen.uv[seen.visible]).astype(int).T
    color = stream.read(image)[v, u].astype(int)
    bluish = color[:, 2] > color[:, 0] + 25
    assert bluish.mean() < 0.03


@pytest.mark.parametrize("index", [0, 1, 2])
def test_real_frame(test_data: Path, index: int):
    """Of DDAD, in all six cameras: most points of a camera's image are seen, and near ones hide some."""
    (clip,) = open_clips(test_data / "ddad_dgp")
    points = clip.points(index)
    for stream in clip.cameras.values():
        image = int(np.abs(stream.timestamps_us - clip.timestamps_us[index].mean()).argmin())
        seen = project_sweep(clip, stream, index, image, points)
        assert seen.inside.sum() > 3000
        assert 0.6 < seen.visible.sum() / seen.inside.sum() < 1.0


def test_the_mounting_on_the_vehicle_by_what_there_is() -> None:
    """Recorded, by the lidar's, or by poses of an image that was taken during a sweep."""
    clip = synthesize_drive(3, uniform_sensor(4, 16), 2, cameras=pinhole_rig(("left",), 32))
    stream = clip.cameras["camera_left"]
    mounting = stream.ego_SE3_camera
    by_lidar = replace(stream, ego_SE3_camera=None)
    by_poses = replace(by_lidar, lidar_SE3_camera=None)
    for known in (stream, by_lidar, by_poses):
        assert np.allclose(vehicle_mount(clip, known), mounting, atol=1e-6)
    assert vehicle_mount(clip, replace(by_poses, world_SE3_camera=None)) is None
    assert vehicle_mount(clip, replace(by_poses, timestamps_us=stream.timestamps_us + 10**9)) is None
