"""A sequence in the published layout, written here: axes x left, y back, z up, quaternions x y z w."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cosmos_lidar.clips import find_readers, open_clips
from cosmos_lidar.clips.camera_pose import project_sweep
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.errors import DataError
from tests.clips.readers.test_kitti import image, scan

FIRST_MS, STEP_MS = 1_616_343_527_200, 500
SPEED, TURN = 6.0, 0.2  # meters and radians per second
WORLD = np.array([[30.0, 3, 1], [25, -4, 2], [40, 1, 0.5], [35, 9, 3]])  # x forward, y left of the first frame
DISTORTION = [-0.25, 0.08, 0.001, -0.002, -0.01]
K = [[60.0, 0, 48], [0, 61.0, 40], [0, 0, 1]]


def pose(seconds: float) -> np.ndarray:
    """The vehicle on a circle to the left, x forward, y left, z up."""
    angle, found = TURN * seconds, np.eye(4)
    found[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    found[:2, 3] = SPEED / TURN * np.sin(angle), SPEED / TURN * (1 - np.cos(angle))
    return found


def theirs(points: np.ndarray) -> np.ndarray:
    """To x left, y back, z up."""
    return np.stack([points[:, 1], -points[:, 0], points[:, 2]], 1)


def seen(seconds: float) -> np.ndarray:
    """The points of the world in the axes of the vehicle."""
    return (WORLD - pose(seconds)[:3, 3]) @ pose(seconds)[:3, :3]


def document(frames: int) -> dict[str, Any]:
    listed = []
    for k in range(frames):
        place = theirs(pose(0.5 * k)[None, :3, 3])[0]
        half = TURN * 0.5 * k / 2  # turning about z is the same in both axes
        quaternion = [0.0, 0.0, np.sin(half), np.cos(half)]
        listed.append({"sequence_id": "000076", "frame_id": str(FIRST_MS + STEP_MS * k), "pose": [*quaternion, *place]})
    # Camera 1.5 m ahead of the lidar and 0.3 m below, looking forward: its x is right, y down, z forward.
    cam_to_velo = [[-1.0, 0, 0, 0.0], [0, 0, -1, -1.5], [0, -1, 0, -0.3], [0, 0, 0, 1]]
    lens = {"cam_to_velo": cam_to_velo, "cam_intrinsic": K, "distortion": DISTORTION}
    return {"meta_info": {"weather": "sunny"}, "calib": {"cam01": lens}, "frames": listed}


def write_sequence(root: Path, frames: int = 4, edit: Callable[[dict[str, Any]], object] | None = None) -> Path:
    folder = root / "data" / "000076"
    for k in range(frames):
        points = np.column_stack([theirs(seen(0.5 * k)), np.full(len(WORLD), 9)])
        scan(folder / "lidar_roof" / f"{FIRST_MS + STEP_MS * k}.bin", points)
        image(folder / "cam01" / f"{FIRST_MS + STEP_MS * k}.jpg", (96, 80))
    written = document(frames)
    if edit:
        edit(written)
    (folder / "000076.json").write_text(json.dumps(written))
    return folder


def write_sample(root: Path) -> Path:
    """A sequence of four frames, of points around the vehicle."""
    folder = write_sequence(root)
    for k, file in enumerate(sorted((folder / "lidar_roof").iterdir())):
        angles = np.linspace(0, 2 * np.pi, 80, endpoint=False) + 0.01 * k
        points = np.column_stack([12 * np.cos(angles), 12 * np.sin(angles), np.full(80, -1.6), np.full(80, 40.0)])
        scan(file, points)
    return root


def test_points_poses_and_times(tmp_path):
    write_sequence(tmp_path)
    (clip,) = open_clips(tmp_path)
    assert (clip.clip_id, clip.format, clip.sensor.name) == ("000076", "once", "hesai_pandar40p")
    assert clip.timestamps_us[1].tolist() == [(FIRST_MS + 500) * 1000 - 50_000, (FIRST_MS + 500) * 1000 + 50_000]
    assert not clip.motion_compensated
    for index in range(4):
        assert np.allclose(clip.points(index), seen(0.5 * index), atol=1e-4)
        middle = clip.world_SE3_lidar[index].mean(0)
        assert np.abs(clip.points(index) @ middle[:3, :3].T + middle[:3, 3] - WORLD).max() < 0.03
    # The vehicle goes on between frames: 0.1 s at 6 m/s from the start to the end of a scan.
    way = np.linalg.norm(clip.world_SE3_lidar[1, 1, :3, 3] - clip.world_SE3_lidar[1, 0, :3, 3])
    assert way == pytest.approx(0.6, abs=0.01)
    assert clip.read_sweep(0).intensity.tolist() == [9.0] * 4


def test_points_are_in_the_image_where_the_distorted_lens_sees_them(tmp_path):
    write_sequence(tmp_path)
    (clip,) = open_clips(tmp_path)
    camera = clip.cameras["cam01"]
    k1, k2, p1, p2, k3 = DISTORTION
    forward, left, up = (seen(1.0) - [1.5, 0.0, -0.3]).T
    x, y = -left / forward, -up / forward
    r2 = x * x + y * y
    gain = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    u = 60 * (x * gain + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)) + 48
    v = 61 * (y * gain + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y) + 40
    at_the_frame = (np.linalg.inv(camera.lidar_SE3_camera) @ np.column_stack([seen(1.0), np.ones(4)]).T).T[:, :3]
    uv, _ = camera.model.project(at_the_frame)
    assert np.abs(uv - np.stack([u, v], 1)).max() < 1e-6
    found = project_sweep(clip, camera, 2, 2, clip.points(2))
    assert np.abs(found.uv - np.stack([u, v], 1)).max() < 0.5  # points straight ahead, seen about the middle
    assert "images are taken for distorted by the coefficients of the calibration" in clip.notes


@pytest.mark.parametrize("below", ["", "data", "data/000076", "data/000076/lidar_roof"])
def test_every_folder_of_the_dataset_is_recognized(tmp_path, below):
    write_sequence(tmp_path)
    found = {name: reader.recognise(tmp_path / below) for name, reader in find_readers().items()}
    assert [name for name, strength in found.items() if strength == Strength.EXACT] == ["once"]
    assert open_clips(tmp_path / below)[0].clip_id == "000076"


def test_frames_that_are_not_on_disk_and_scans_that_are_no_frames(tmp_path):
    folder = write_sequence(tmp_path)
    (folder / "lidar_roof" / f"{FIRST_MS + STEP_MS}.bin").unlink()
    scan(folder / "lidar_roof" / "1616343529999.bin")
    (clip,) = open_clips(tmp_path)
    assert clip.frame_ids == tuple(str(FIRST_MS + STEP_MS * k) for k in (0, 2, 3))
    assert "1 of 4 frames of 000076.json are not on disk" in clip.notes
    assert "1 scans are left out: 000076.json does not list them" in clip.notes
    assert len(clip.cameras["cam01"]) == 3


def test_scans_alone(tmp_path):
    folder = write_sequence(tmp_path)
    (folder / "000076.json").unlink()
    (clip,) = open_clips(tmp_path)
    assert (len(clip), clip.world_SE3_lidar, clip.cameras) == (4, None, {})
    assert "no 000076.json: no poses, no cameras" in clip.notes
    scan(folder / "lidar_roof" / "map.bin")
    with pytest.raises(DataError, match="no time in the name of a frame.*map.bin, clip 000076, key map"):
        open_clips(tmp_path)


def lens(**values: object) -> Callable[[dict[str, Any]], object]:
    return lambda written: written["calib"]["cam01"].update(values)


def of_frame(**values: object) -> Callable[[dict[str, Any]], object]:
    return lambda written: written["frames"][1].update(values)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda written: written.pop("frames"), "not readable: KeyError 'frames'.*000076.json, clip 000076"),
        (lambda written: written.update(frames=[]), "no frames with names.*key frames"),
        (lambda written: written.update(frames={"a": 1}), "not readable: TypeError.*000076.json"),
        (of_frame(frame_id=5), "no frames with names.*key frames"),
        (of_frame(pose=[1, 2]), "no pose: 2 numbers.*000076.json, clip 000076, key pose of 1616343527700"),
        (of_frame(pose=[0] * 7), "no pose: no unit quaternion.*key pose of 1616343527700"),
        (of_frame(pose=["a"] * 7), "no pose: could not convert.*key pose of 1616343527700"),
        (of_frame(pose=None), "no pose: .*key pose of 1616343527700"),
        (lambda written: written["calib"].pop("cam01"), "no calibration of it.*000076.json, clip 000076, key cam01"),
        (lens(cam_to_velo=None), "cam01 of clip 000076: shape.*000076.json, key cam_to_velo"),
        (lens(cam_to_velo=np.zeros((4, 4)).tolist()), "no rigid motion.*key cam_to_velo"),
        (lens(cam_intrinsic=[[1, 2]]), "cam01 has no lens: cam_intrinsic of.*000076.json, clip 000076, key cam01"),
        (lens(cam_intrinsic=np.zeros((3, 3)).tolist()), "not a camera.*000076.json, clip 000076, key cam01"),
        (lens(distortion="none"), "cam01 has no lens: could not convert.*key cam01"),
        (lambda written: written.update(frames=written["frames"][:1] * 2), None),
    ],
)
def test_broken_files(tmp_path, edit, message):
    write_sequence(tmp_path, edit=edit)
    if message is None:
        assert len(open_clips(tmp_path)[0]) == 1  # one frame twice
    else:
        with pytest.raises(DataError, match=message):
            open_clips(tmp_path)


def test_distortion_of_other_models(tmp_path):
    write_sequence(tmp_path, edit=lens(distortion=[[*DISTORTION, 0.1, 0, 0]]))
    (clip,) = open_clips(tmp_path)
    assert clip.cameras["cam01"].model is None
    assert "cam01: no lens, 8 coefficients of distortion are not read" in clip.notes
    write_sequence(tmp_path, edit=lens(distortion=[[*DISTORTION, 0, 0, 0]]))
    assert open_clips(tmp_path)[0].cameras["cam01"].model.distortion == tuple(DISTORTION)
    write_sequence(tmp_path, edit=lens(distortion=[]))
    assert open_clips(tmp_path)[0].cameras["cam01"].model.distortion == ()


def test_no_json_truncated_and_empty_scans(tmp_path):
    folder = write_sequence(tmp_path)
    (folder / "lidar_roof" / f"{FIRST_MS}.bin").write_bytes(b"12345")
    (folder / "lidar_roof" / f"{FIRST_MS + STEP_MS}.bin").write_bytes(b"")
    (clip,) = open_clips(tmp_path)
    with pytest.raises(DataError, match=f"5 bytes are no whole number.*{FIRST_MS}.bin, clip 000076"):
        clip.read_sweep(0)
    with pytest.raises(DataError, match="the file is empty"):
        clip.read_sweep(1)
    unread = [problem for problem in check_clip(clip).problems if " bytes" in problem]
    assert len(unread) == 2
    (folder / "000076.json").write_text('{"frames": [')
    with pytest.raises(DataError, match="not readable: JSONDecodeError.*000076.json, clip 000076"):
        open_clips(tmp_path)
