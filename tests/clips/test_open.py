from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import find_readers, open_clips
from cosmos_lidar.clips.files import clean_id, refuse_picture
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.sensors.sensor import uniform_sensor


def scan(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    np.zeros((5, 4), "<f4").tofile(file)


def test_readers_are_found_by_listing_the_package():
    found = find_readers()
    assert {"release", "kitti", "nuscenes"} <= set(found)
    assert not any(name.startswith("_") for name in found)
    for module in found.values():
        assert isinstance(module.DESCRIPTION, str)
        assert module.EXAMPLE_LAYOUT.strip()


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match="nothing is there.*absent"):
        open_clips(tmp_path / "absent")


def test_not_recognized_tells_what_is_there_and_lists_the_formats(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not recognized as a dataset: it holds nothing") as caught:
        open_clips(tmp_path)
    assert len(str(caught.value).splitlines()) == 1 + len(find_readers())
    for part in ("kitti: ", "nuscenes: ", "release: ", "--format NAME"):
        assert part in str(caught.value)
    for name in ("1.png", "2.PNG", "LICENSE"):
        (tmp_path / name).touch()
    (tmp_path / "more").mkdir()
    with pytest.raises(DataError, match=r"it holds 2 files \.png, a file without an ending, a folder"):
        open_clips(tmp_path)
    with pytest.raises(DataError, match=r"it holds no recording, a file \.png"):
        open_clips(tmp_path / "1.png")


def test_not_recognized_as_what_was_asked_for(tmp_path):
    scan(tmp_path / "000000.bin")
    with pytest.raises(DataError, match="not recognized as release") as caught:
        open_clips(tmp_path, format="release")
    assert "kitti" not in str(caught.value)
    assert "metadata/<clip>.npz" in str(caught.value)
    with pytest.raises(UserError, match=f"unknown format 'waymoo': known are {', '.join(sorted(find_readers()))}"):
        open_clips(tmp_path, format="waymoo")


def test_the_surer_of_two_readers_is_taken(tmp_path):
    scan(tmp_path / "velodyne" / "000000.bin")
    np.zeros((5, 5), "<f4").tofile(tmp_path / "log__LIDAR_TOP__17.pcd.bin")
    assert open_clips(tmp_path)[0].format == "nuscenes"
    (tmp_path / "times.txt").write_text("0.0\n")  # now both find names of their own
    with pytest.raises(DataError, match="more than one reader recognizes this: kitti, nuscenes.*--format"):
        open_clips(tmp_path)
    assert open_clips(tmp_path, format="kitti")[0].format == "kitti"
    assert open_clips(tmp_path, format="nuscenes")[0].format == "nuscenes"


@pytest.mark.parametrize(
    ("magic", "kind"), [(b"\x89PNG\r\n\x1a\n", "PNG"), (b"\xff\xd8\xff\xe0", "JPEG"), (b"GIF89a", "GIF")]
)
def test_a_picture_is_no_point_file(tmp_path, magic, kind):
    file = tmp_path / "000000.bin"
    file.write_bytes(magic + bytes(100))
    with pytest.raises(DataError, match=f"this is a {kind} image, not points.*000000.bin"):
        open_clips(file)


def test_points_that_start_like_a_bitmap_are_points(tmp_path):
    file = tmp_path / "x.bin"
    file.write_bytes(b"BM" + (999).to_bytes(4, "little") + bytes(10))
    refuse_picture(file)
    file.write_bytes(b"BM" + (16).to_bytes(4, "little") + bytes(10))
    with pytest.raises(DataError, match="BMP image"):
        refuse_picture(file)


def test_sensor_can_be_replaced(tmp_path):
    scan(tmp_path / "000000.bin")
    sensor = uniform_sensor(16, 100, name="mine")
    assert open_clips(tmp_path, sensor=sensor)[0].range_map(0).shape == (16, 100)
    (tmp_path / "mine.yaml").write_text(sensor.to_yaml())
    assert open_clips(tmp_path, sensor=tmp_path / "mine.yaml")[0].sensor.fingerprint() == sensor.fingerprint()
    with pytest.raises(UserError, match="unknown sensor 'hdl99'"):
        open_clips(tmp_path, sensor="hdl99")


def test_two_clips_of_one_name(tmp_path):
    for place in ("a b", "a_b"):
        scan(tmp_path / place / "000000.bin")
    with pytest.raises(DataError, match="two clips of one name.*a b and .*a_b.*clip a_b"):
        open_clips(tmp_path)


def test_clip_ids_have_no_dots_and_slashes():
    assert clean_id("2011.09/26 drive\\1.") == "2011_09_26_drive_1"
    assert clean_id("..") == "clip"
