from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cosmos_lidar.clips import Clip, Sweep, one_lidar_clip
from cosmos_lidar.sensors import Sensor, uniform_sensor
from cosmos_lidar.sensors.sensor import RangeMapFormat


def build_clip(sensor: Sensor, frames: int = 3, clip_id: str = "drive") -> Clip:
    """A clip of smooth walls with holes, different in every frame."""
    rows, columns = sensor.shape

    def read_sweep(index: int) -> Sweep:
        row, column = np.mgrid[0:rows, 0:columns]
        range_m = 25.0 + 15.0 * np.sin(column * 2 * np.pi / columns + index) + 0.5 * row
        range_m[(row + 3 * (column // 2) + index) % 11 == 0] = 0.0
        return Sweep(range_m=range_m.astype(np.float32))

    times = np.stack((np.arange(frames), np.arange(frames) + 1), axis=1).astype(np.int64) * 100_000
    names = tuple(f"{3 * index:06d}" for index in range(frames))
    poses = np.tile(np.eye(4), (frames, 2, 1, 1))
    return one_lidar_clip(clip_id, sensor, names, times, read_sweep, Path("synthetic"), "test", world_SE3_lidar=poses)


@pytest.fixture(scope="session")
def make_clip() -> Callable[..., Clip]:
    return build_clip


@pytest.fixture(scope="session")
def small_sensor() -> Sensor:
    return uniform_sensor(16, 64, name="small", format=RangeMapFormat(pair_columns=2, repeat_rows=4))


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with small_enc.jit, small_dec.jit and small_ema.jit of a small network with random weights."""
    from cosmos_lidar.models.tokenizer import build_tokenizer, export_jit

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tokenizer")
    export_jit(build_tokenizer("CI8x8", channels=32, channels_mult=(1, 1, 1), num_res_blocks=1).eval(), folder, "small")
    return folder
