"""What is known of a folder of frames before it is read: cameras, image size and sensor, by files or the first one."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("megatron.energon")

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.shards.files import write_tar
from cosmos_lidar.shards.manifest import index_with_energon
from cosmos_lidar.shards.sources import resolve
from cosmos_lidar.shards.sweeps import PackedRun
from cosmos_lidar.shards.views import SENSOR, VIEWS, ViewsFacts, read_facts, read_views_facts

LIDAR = uniform_sensor(4, 16, name="tiny")


def jpeg(height: int, width: int) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


def folder(root: Path, cameras: tuple[str, ...] = ("front", "left"), size: tuple[int, int] = (16, 24)) -> Path:
    """A folder with nothing but the shard; what stands beside it is added by the tests."""
    root.mkdir()
    parts = {"ranges.bin": b"x", "meta.json": b"{}", **{f"{name}.jpg": jpeg(*size) for name in cameras}}
    write_tar(root / "train-000000.tar", [PackedRun("a_0", parts, 1, 0)])
    index_with_energon(root, ["train-000000.tar"], sample_type="views")
    return root


def describe(root: Path, cameras: tuple[str, ...] = ("front", "left"), size: tuple[int, int] = (16, 24)) -> Path:
    (root / VIEWS).write_text(json.dumps({"cameras": cameras, "image_size": size}))
    (root / SENSOR).write_text(LIDAR.to_yaml())
    return root


def facts(*folders: Path, **options: object) -> ViewsFacts:
    return read_views_facts(resolve(",".join(map(str, folders)), "train"), **options)


def test_files_and_first_sample_say_the_same(tmp_path: Path) -> None:
    root = folder(tmp_path / "a")
    with pytest.raises(UserError, match=r"neither views.json nor sensor.yaml"):
        facts(root)
    of_sample = facts(root, sensor=LIDAR)
    of_files = read_facts(describe(root))
    for found in (of_sample, of_files, facts(root)):
        assert (found.cameras, found.image_size) == (("front", "left"), (16, 24))
        assert found.sensor.fingerprint() == LIDAR.fingerprint()


@pytest.mark.parametrize(
    ("cameras", "size", "message"),
    [
        (("front",), (16, 24), r"frames differ in cameras: \('front', 'left'\) in .*a, \('front',\) in .*b"),
        (("front", "left"), (8, 24), r"frames differ in image_size: \(16, 24\) in .*a, \(8, 24\) in .*b"),
    ],
)
def test_frames_that_differ_are_not_mixed(tmp_path: Path, cameras: tuple, size: tuple, message: str) -> None:
    with pytest.raises(UserError, match=message):
        facts(describe(folder(tmp_path / "a")), describe(folder(tmp_path / "b"), cameras, size))


def test_range_maps_that_differ_are_not_mixed(tmp_path: Path) -> None:
    one, other = describe(folder(tmp_path / "a")), describe(folder(tmp_path / "b"))
    (other / SENSOR).write_text(uniform_sensor(4, 32).to_yaml())
    with pytest.raises(UserError, match=r"frames differ in range map: \(4, 16\).*\(4, 32\)"):
        facts(one, other)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not readable.*views.json.*prepare --views"):
        read_facts(tmp_path)
    (tmp_path / VIEWS).write_text('{"cameras": ["front"]}')
    with pytest.raises(DataError, match=r"not readable: 'image_size'"):
        read_facts(tmp_path)
    with pytest.raises(DataError, match=r"no parts NAME.jpg"):
        facts(folder(tmp_path / "bare", ()), sensor=LIDAR)
