from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.errors import DataError

FIRST_US = 1_532_402_927_647_951
STEP_US = 50_000
LIDAR_MOUNT = {
    "translation": [0.9, 0.0, 1.8],
    "rotation": [np.sqrt(0.5), 0.0, 0.0, -np.sqrt(0.5)],
}  # x right, y forward
CAMERA_MOUNT = {"translation": [1.7, 0.0, 1.5], "rotation": [0.5, -0.5, 0.5, -0.5]}


def tables(root: Path, sweeps: int = 4, real: Path | None = None, edit=None, step_m: float = 1.0) -> Path:
    """Write tables of one scene that drives ``step_m`` along x per sweep; each has one point 10 m ahead at its end."""
    for k in range(sweeps):
        file = root / lidar_file(k)
        file.parent.mkdir(parents=True, exist_ok=True)
        if real is not None:
            file.write_bytes(real.read_bytes())
        else:  # in the axes of the dataset: 2 m to the right, 10 m ahead
            np.array([[2.0, 10.0, 0.5, 128.0, 7.0]], "<f4").tofile(file)
    image = root / "samples/CAM_FRONT/log__CAM_FRONT__1.jpg"
    image.parent.mkdir(parents=True)
    from PIL import Image

    Image.new("RGB", (160, 90)).save(image)
    rows = {
        "scene": [{"token": "sc", "name": "scene-0001"}, {"token": "empty", "name": "scene-0002"}],
        "sample": [{"token": "sa", "scene_token": "sc"}, {"token": "sb", "scene_token": "sc"}],
        "sensor": [
            {"token": "sl", "channel": "LIDAR_TOP"},
            {"token": "sf", "channel": "CAM_FRONT"},
            {"token": "sr", "channel": "RADAR"},
        ],
        "calibrated_sensor": [
            {"token": "cl", "sensor_token": "sl", "camera_intrinsic": [], **LIDAR_MOUNT},
            {
                "token": "cf",
                "sensor_token": "sf",
                "camera_intrinsic": [[126, 0, 80], [0, 126, 45], [0, 0, 1]],
                **CAMERA_MOUNT,
            },
            {"token": "cr", "sensor_token": "sr", "camera_intrinsic": [], **LIDAR_MOUNT},
        ],
        "ego_pose": [
            {
                "token": f"e{k}",
                "timestamp": FIRST_US + k * STEP_US,
                "rotation": [1, 0, 0, 0],
                "translation": [step_m * k, 0, 0],
            }
            for k in range(sweeps)
        ],
        "sample_data": [
            datum(f"l{k}", "sa", f"e{k}", "cl", FIRST_US + k * STEP_US, lidar_file(k)) for k in reversed(range(sweeps))
        ]
        + [
            datum("f0", "sa", "e0", "cf", FIRST_US, "samples/CAM_FRONT/log__CAM_FRONT__1.jpg")
            | {"width": 160, "height": 90},
            datum("r0", "sa", "e0", "cr", FIRST_US, "samples/RADAR/x.pcd"),
        ],
    }
    if edit:
        edit(rows)
    folder = root / "v1.0-mini"
    folder.mkdir()
    for name, records in rows.items():
        if records is not None:
            (folder / f"{name}.json").write_text(json.dumps(records, indent=0))
    return folder


def lidar_file(k: int) -> str:
    kind = "samples" if k == 0 else "sweeps"
    return f"{kind}/LIDAR_TOP/n015-x+0800__LIDAR_TOP__{FIRST_US + k * STEP_US}.pcd.bin"


def datum(token: str, sample: str, ego: str, mount: str, stamp: int, file: str) -> dict:
    keys = ("token", "sample_token", "ego_pose_token", "calibrated_sensor_token", "timestamp", "filename")
    return dict(zip(keys, (token, sample, ego, mount, stamp, file), strict=True))


def write_sample(root: Path) -> Path:
    """A scene of four sweeps, the first of them with both kinds of labels."""
    folder = tables(root)
    add_labels(root, folder, "lidarseg", "l0", np.array([24], np.uint8))
    add_labels(root, folder, "panoptic", "l0", np.array([24_003], np.uint16))
    return root


def add_labels(root: Path, folder: Path, kind: str, token: str, labels: np.ndarray) -> None:
    """Write a label file of a sweep and the table that names it."""
    file = f"{kind}/v1.0-mini/{token}_{kind}" + (".bin" if kind == "lidarseg" else ".npz")
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    if kind == "lidarseg":
        labels.tofile(root / file)
    else:
        np.savez(root / file, data=labels)
    (folder / f"{kind}.json").write_text(json.dumps([{"token": "x", "sample_data_token": token, "filename": file}]))


def test_scene(tmp_path):
    tables(tmp_path)
    (clip,) = open_clips(tmp_path)
    assert (clip.clip_id, clip.format, len(clip)) == ("scene-0001", "nuscenes", 4)
    assert clip.motion_compensated
    assert clip.sensor.name == "nuscenes_hdl32e"
    assert clip.timestamps_us[:, 1].tolist() == [FIRST_US + k * STEP_US for k in range(4)]  # the stamp is the end
    assert clip.timestamps_us[:, 0].tolist() == [FIRST_US + (k - 1) * STEP_US for k in range(4)]
    assert np.allclose(clip.world_SE3_lidar[:, 1, :3, 3], [[k + 0.9, 0, 1.8] for k in range(4)])
    assert np.allclose(clip.world_SE3_lidar[:, 0, :3, 3], [[k - 0.1, 0, 1.8] for k in range(4)], atol=1e-6)
    assert np.allclose(clip.world_SE3_lidar[:, :, :3, :3], np.eye(3), atol=1e-9)  # x of the lidar is forward now


def test_two_sets_of_tables(tmp_path):
    tables(tmp_path).rename(tmp_path / "v1.0-trainval")
    tables(tmp_path / "new").rename(tmp_path / "v1.0-mini")
    with pytest.raises(DataError, match="more than one set of tables: v1.0-mini, v1.0-trainval"):
        open_clips(tmp_path)


def real_file(test_data: Path) -> Path:
    return next((test_data / "nuscenes" / "samples" / "LIDAR_TOP").glob("*.pcd.bin"))


def turning(count: int = 2000) -> np.ndarray:
    """Points x y z intensity ring."""
    rng = np.random.default_rng(0)
    turn, rise, far = rng.uniform(-3, 3, count), rng.uniform(-0.5, 0.1, count), rng.uniform(4, 60, count)
    ring = rng.integers(0, 32, count)
    return np.stack([far * np.cos(turn), far * np.sin(turn), far * np.sin(rise), ring * 8.0, ring], 1).astype("<f4")
