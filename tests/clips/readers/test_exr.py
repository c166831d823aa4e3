"""Folders of OpenEXR range maps, written here through the library alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("OpenEXR")

import OpenEXR

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.readers.exr import recognise
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.errors import DataError
from tests.clips.readers.synthetic import recorded, sensor

START_US = 1_700_000_000_000_000


def write(file: Path, channels: dict[str, np.ndarray]) -> None:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    file.parent.mkdir(parents=True, exist_ok=True)
    with OpenEXR.File(header, {name: np.ascontiguousarray(one) for name, one in channels.items()}) as image:
        image.write(str(file))


def write_sample(root: Path) -> Path:
    """Three sweeps of a drive with stamps and poses, and a second lidar without either."""
    folder = root / "drive_7"
    for index in range(3):
        sweep = recorded(index)
        numbers = {"label": sweep.labels, "instance": sweep.instance}
        channels = {"Y": sweep.range_m, "intensity": sweep.intensity, "time_us": sweep.time_us.astype(np.float32)}
        write(folder / f"{index:06d}.exr", channels | {name: one.astype(np.uint32) for name, one in numbers.items()})
        write(folder / "lidars" / "rear" / f"{index}.exr", {"Y": sweep.range_m})
    (folder / "sensor.yaml").write_text(sensor().to_yaml())
    (folder / "lidars" / "rear" / "sensor.yaml").write_text(sensor().to_yaml())
    (folder / "lidars" / "rear" / "lidar.json").write_text(json.dumps({"name": "rear"}))
    rows = [f"{START_US + 100_000 * k},{START_US + 100_000 * (k + 1)}" for k in range(3)]
    (folder / "timestamps.csv").write_text("\n".join(["timestamp_us,end_us", *rows]) + "\n")
    poses = [f"{START_US + 100_000 * k},{k},0,0,0,0,0,1" for k in range(4)]
    (folder / "poses.csv").write_text("\n".join(["timestamp_us,tx,ty,tz,qx,qy,qz,qw", *poses]) + "\n")
    return root


def test_range_maps_values_times_and_poses(tmp_path) -> None:
    (clip,) = open_clips(write_sample(tmp_path))
    assert (clip.clip_id, clip.format, list(clip.lidars)) == ("drive_7", "exr", ["lidar", "rear"])
    for index in range(3):
        given, read = recorded(index), clip.lidar.read(index)
        for name in ("range_m", "intensity", "labels", "instance", "time_us"):
            assert getattr(read, name).dtype == getattr(given, name).dtype
            assert np.array_equal(getattr(read, name), getattr(given, name)), name
        assert np.array_equal(clip.lidars["rear"].range_map(index), given.range_m)
    assert (clip.timestamps_us[:, 1] - START_US).tolist() == [100_000, 200_000, 300_000]
    assert clip.world_SE3_lidar[2, 1, 0, 3] == 3.0
    assert "rear: no poses" in clip.notes


def test_second_returns_and_rings(tmp_path) -> None:
    folder = write_sample(tmp_path) / "drive_7"
    sweep = recorded(0)
    ring = np.broadcast_to(np.arange(len(sweep.range_m), dtype=np.uint32)[:, None] + 7, sweep.range_m.shape)
    second = {"second.Y": sweep.range_m + 1, "second.intensity": sweep.intensity / 2, "other": sweep.intensity}
    write(folder / "000000.exr", {"Y": sweep.range_m, "ring": ring.copy(), **second})
    (clip,) = open_clips(folder)
    read = clip.lidar.read(0)
    assert read.ring.dtype == np.uint16
    assert np.array_equal(read.second_return.range_m, sweep.range_m + 1)
    assert np.array_equal(read.second_return.intensity, sweep.intensity / 2)
    assert clip.lidar.read(1).second_return is None


def test_images_without_a_sensor_need_one(tmp_path) -> None:
    folder = write_sample(tmp_path) / "drive_7"
    (folder / "sensor.yaml").unlink()
    assert recognise(folder) == Strength.GENERIC
    with pytest.raises(DataError, match=r"no sensor.*sensor\.yaml"):
        open_clips(folder)
    assert open_clips(folder, sensor=sensor())[0].lidar.range_map(0).shape == sensor().shape
    (tmp_path / "empty").mkdir()
    assert recognise(tmp_path / "empty") == Strength.NONE


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda one: {"Z": one}, "channels Z.*key Y.*ranges in meters"),
        (lambda one: {"Y": one.astype(np.uint32)}, "key Y"),
        (lambda one: {"Y": -one}, "below 0"),
        (lambda one: {"Y": one * np.float32("nan")}, "NaN"),
        (lambda one: {"Y": one[:-1]}, "Expected: "),
        (lambda one: {"Y": one, "label": one + np.float32(0.5)}, "labels that are no uint16"),
        (lambda one: {"Y": one, "ring": np.full(one.shape, 70_000, np.uint32)}, "ring that are no uint16"),
        (lambda one: {"Y": one, "second.Y": -one - 1}, "key second.Y"),
    ],
)
def test_values_that_cannot_be_are_refused(tmp_path, change, problem) -> None:
    folder = write_sample(tmp_path) / "drive_7"
    write(folder / "000001.exr", change(recorded(1).range_m))
    (clip,) = open_clips(folder)
    with pytest.raises(DataError, match=rf"(?s){problem}") as caught:
        clip.lidar.read(1)
    assert "000001.exr" in str(caught.value)
    assert "drive_7" in str(caught.value)
