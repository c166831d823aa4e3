"""Cameras from info files: on the real key frame, and what such a file may hold."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.camera_pose import project_sweep
from cosmos_lidar.errors import DataError

SWEEP, PICTURE = "log__LIDAR_TOP__1532402927647951.pcd.bin", "log__CAM_FRONT__1532402927612460.jpg"
AHEAD = [[1.0, 0, 0, 0.1], [0, 0, -1, 0.2], [0, 1, 0, -0.4], [0, 0, 0, 1]]  # x right, y forward -> x right, y down


def folder(root: Path, *, content: object = None, **image: object) -> Path:
    """Write one sweep, one image, and an info file that says ``image`` of it."""
    for name in ("LIDAR_TOP", "CAM_FRONT"):
        (root / "samples" / name).mkdir(parents=True)
    np.array([[2.0, 10.0, 0.5, 128.0, 7.0]], "<f4").tofile(root / "samples" / "LIDAR_TOP" / SWEEP)
    Image.new("RGB", (160, 90)).save(root / "samples" / "CAM_FRONT" / PICTURE)
    usual = {"img_path": PICTURE, "cam2img": [[126, 0, 80], [0, 126, 45], [0, 0, 1]], "lidar2cam": AHEAD}
    entry = {"lidar_points": {"lidar_path": SWEEP}, "images": {"CAM_FRONT": usual | image}}
    (root / "infos.pkl").write_bytes(pickle.dumps({"data_list": [entry]} if content is None else content))
    return root


def test_camera_of_a_key_frame(tmp_path: Path):
    (clip,) = open_clips(folder(tmp_path, lidar2cam=np.array(AHEAD), cam2img=np.array([[126.0, 0, 80], [0, 126, 45]])))
    camera = clip.cameras["CAM_FRONT"]
    assert camera.timestamps_us.tolist() == [1532402927612460]
    assert (camera.model.width, camera.model.height) == (160, 90)
    found = project_sweep(clip, camera, 0, 0, clip.points(0))
    x, y, z = 2.0 + 0.1, -0.5 + 0.2, 10.0 - 0.4
    assert np.allclose(found.uv, [[80 + 126 * x / z, 45 + 126 * y / z]], atol=1e-4)
    assert found.visible.tolist() == [True]


def test_real_key_frame(test_data: Path):
    (clip,) = open_clips(test_data / "nuscenes")
    assert len(clip.cameras) == 6
    points = clip.points(0)
    assert sum(project_sweep(clip, camera, 0, 0, points).visible.sum() for camera in clip.cameras.values()) > 10_000
    rear = clip.cameras["CAM_BACK"].lidar_SE3_camera[:3, 2]
    assert rear[0] < -0.99  # x is forward now
    assert clip.cameras["CAM_FRONT"].read(0).shape == (900, 1600, 3)


class Evil:
    def __reduce__(self) -> tuple:
        return print, ("run",)


@pytest.mark.parametrize(
    ("content", "note"), [(Evil(), "refers to builtins.print, which may run anything"), ({"infos": []}, "data_list")]
)
def test_other_pickles_are_passed_over(tmp_path: Path, content: object, note: str, capsys):
    (clip,) = open_clips(folder(tmp_path, content=content))
    assert not clip.cameras
    assert "skipped infos.pkl" in clip.notes[1]
    assert note in clip.notes[1]
    assert "run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ({"cam2img": [1, 2]}, "CAM_FRONT has no lens.*infos.pkl, clip log, key cam2img"),
        ({"lidar2cam": None}, "CAM_FRONT of clip log.*key lidar2cam"),
        ({"lidar2cam": (2 * np.eye(4)).tolist()}, "CAM_FRONT of clip log: no rigid motion"),
    ],
)
def test_a_camera_that_lacks_something_is_named(tmp_path: Path, image: dict, message: str):
    with pytest.raises(DataError, match=message):
        open_clips(folder(tmp_path, **image))


def test_stamps_from_the_info_file_and_pictures_that_are_not_there(tmp_path: Path):
    folder(tmp_path, img_path="plain.jpg", timestamp=1532402927.61246)
    assert not open_clips(tmp_path)[0].cameras
    (tmp_path / "samples" / "CAM_FRONT" / PICTURE).rename(tmp_path / "plain.jpg")
    assert open_clips(tmp_path)[0].cameras["CAM_FRONT"].timestamps_us.tolist() == [1532402927612460]
    (tmp_path / "infos.pkl").unlink()
    folder(tmp_path / "other", img_path="plain.jpg")
    (tmp_path / "other" / "samples" / "CAM_FRONT" / PICTURE).rename(tmp_path / "other" / "plain.jpg")
    with pytest.raises(DataError, match="plain.jpg has no stamp.*key timestamp"):
        open_clips(tmp_path / "other")


class OverAddresses:
    """An array of objects over bytes, by allowed names alone: printing it ends Python."""

    def __reduce__(self) -> tuple:
        return np.ndarray, ((4,), np.dtype("O"), b"A" * 32)


def test_allowed_names_cannot_be_called_with_anything(tmp_path: Path):
    (clip,) = open_clips(folder(tmp_path, content={"data_list": OverAddresses()}))
    assert not clip.cameras
    assert any("skipped infos.pkl" in note and "dtype 'O8'" in note for note in clip.notes), clip.notes


def test_an_info_file_above_the_limit_is_not_read(tmp_path: Path):
    root = folder(tmp_path)
    with (root / "infos.pkl").open("r+b") as file:
        file.truncate(2 * 10**12)
    (clip,) = open_clips(root)
    assert any("an info file would take 2.0 TB" in note for note in clip.notes), clip.notes
