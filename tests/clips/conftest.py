from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import CameraStream, Clip, Sweep, one_lidar_clip
from cosmos_lidar.sensors.ftheta import FThetaCamera
from cosmos_lidar.sensors.sensor import uniform_sensor

FTHETA = [
    954.2063,
    757.15415,
    1920,
    1080,
    0,
    0.00105758628,
    8.2116208e-09,
    -3.3945008e-11,
    8.0734208e-14,
    -2.94602496e-17,
    1,
]


class Maps:
    """Sweeps of random range maps; picklable."""

    def __init__(self, shape: tuple[int, int], seed: int = 0) -> None:
        self.shape, self.seed = shape, seed

    def __call__(self, index: int) -> Sweep:
        rng = np.random.default_rng([self.seed, index])
        seen = rng.random(self.shape) < 0.8
        range_m = np.where(seen, rng.uniform(1.0, 100.0, self.shape), 0.0).astype(np.float32)
        intensity = np.where(seen, rng.integers(0, 255, self.shape), 0).astype(np.float32)
        return Sweep(
            range_m=range_m,
            intensity=intensity,
            labels=np.where(seen, rng.integers(1, 20, self.shape), 0).astype(np.uint16),
        )


def straight_drive(frames: int, speed_m_per_s: float = 10.0) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, 2) times and (N, 2, 4, 4) poses of a drive along x that turns slowly."""
    times = np.stack([np.arange(frames), np.arange(frames) + 1], 1) * 100_000
    angle = 0.05 * times / 1e6
    poses = np.zeros((frames, 2, 4, 4))
    poses[..., 0, 0] = poses[..., 1, 1] = np.cos(angle)
    poses[..., 1, 0], poses[..., 0, 1] = np.sin(angle), -np.sin(angle)
    poses[..., 2, 2] = poses[..., 3, 3] = 1.0
    poses[..., 0, 3] = speed_m_per_s * times / 1e6
    return times, poses


@pytest.fixture
def make_clip() -> Callable[..., Clip]:
    """Return a function that makes a clip of random range maps, with a camera of three images per sweep."""

    def make(clip_id: str = "a_drive", frames: int = 4, sensor=None, cameras: bool | dict = True, **changes) -> Clip:
        sensor = sensor or uniform_sensor(16, 90)
        times, poses = straight_drive(frames)
        streams = cameras if isinstance(cameras, dict) else {}
        if cameras is True:
            images = [np.full((48, 64, 3), (k * 19) % 256, np.uint8) for k in range(3 * frames)]
            stamps = (np.arange(3 * frames) * 100_000 / 3).round().astype(np.int64)
            camera_poses = np.tile(np.eye(4), (3 * frames, 1, 1))
            camera_poses[:, 0, 3] = stamps / 1e5
            name = "camera_front_wide_120fov"
            streams[name] = CameraStream(
                name, stamps, images.__getitem__, FThetaCamera.from_vector(np.array(FTHETA)), camera_poses
            )
        fields = dict(world_SE3_lidar=poses, cameras=streams)
        fields.update(changes)
        frame_ids = tuple(str(3 * k) for k in range(frames))
        return one_lidar_clip(clip_id, sensor, frame_ids, times, Maps(sensor.shape), Path("memory"), "test", **fields)

    return make


def npz(*args: np.ndarray, **kwargs: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, *args, **kwargs)
    return buffer.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.fixture
def npy() -> Callable[[np.ndarray], bytes]:
    def encode(array: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, array)
        return buffer.getvalue()

    return encode


@pytest.fixture
def edit_tar() -> Callable:
    """Return a function that rewrites a tar: ``change(name, data)`` returns a member's new content, None drops it."""

    def edit(path: Path, change: Callable[[str, bytes], bytes | None]) -> None:
        with tarfile.open(path) as tar:
            members = {info.name: change(info.name, tar.extractfile(info).read()) for info in tar}
        write_tar(path, {name: data for name, data in members.items() if data is not None})

    return edit


@pytest.fixture
def published(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a clip as the published tools do (not by our writer) and returns the root.

    ``change`` maps ``(frame number, part)`` to what is stored instead; None leaves the member out.
    """

    def write(
        clip: str = "d0ad_1_2", rows: int = 3, in_tar: int | None = None, ids=None, change=None, metadata=None
    ) -> Path:
        rng, members = np.random.default_rng(1), {}
        for k in range(rows if in_tar is None else in_tar):
            count = 500
            parts = {
                "lidar_row": rng.integers(0, 128, count).astype(np.uint8),
                "lidar_col": rng.permutation(3600)[:count].astype(np.uint16),
                "lidar_range": rng.uniform(2, 100, count).astype(np.float16),
            }
            for part, array in parts.items():
                array = (change or {}).get((k, part), array)
                if array is not None:
                    members[f"{clip}.{3 * k:06d}.{part}.npz"] = array if isinstance(array, bytes) else npz(array)
        write_tar(tmp_path / "lidar" / f"{clip}.tar", members)
        times, poses = straight_drive(rows)
        arrays = {
            "pose_list": poses,
            "timestamps_list": times,
            "frame_indices": np.array([f"{3 * k:06d}" for k in range(rows)]) if ids is None else np.array(ids),
        }
        arrays.update(metadata or {})
        (tmp_path / "metadata").mkdir(exist_ok=True)
        np.savez(tmp_path / "metadata" / f"{clip}.npz", **{k: v for k, v in arrays.items() if v is not None})
        return tmp_path

    return write
