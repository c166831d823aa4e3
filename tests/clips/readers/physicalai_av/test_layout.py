"""Names of files of PhysicalAI-AV: which belong to which clip, which tables of calibration come first."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from cosmos_lidar.clips.readers.physicalai_av.layout import find_files, is_layout

NAMES = ("a.lidar_top_360fov.parquet", "a.camera_x.mp4", "a.camera_x.timestamps.parquet", "a.egomotion.parquet",
         "a.egomotion.offline.parquet", "a.obstacle.offline.parquet", "a.camera_x.blurred_boxes.parquet")  # fmt: skip


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_files_of_a_clip_are_those_with_its_name(tmp_path):
    (files,) = find_files(touch(tmp_path, *(f"lidar/{name}" for name in NAMES), "features.csv"))
    found = {feature: span.path.name for feature, span in files.clips["a"].items()}
    assert found == {
        "lidar_top_360fov": NAMES[0],
        "camera_x": NAMES[1],
        "camera_x.timestamps": NAMES[2],
        "egomotion": NAMES[3],
        "egomotion.offline": NAMES[4],
        "obstacle.offline": NAMES[5],
    }


def test_tables_of_a_clip_are_those_of_its_chunk_offline_first(tmp_path):
    folder = tmp_path / "calibration"
    names = [f"sensor_extrinsics{variant}.chunk_000{chunk}.parquet" for variant in ("", ".offline") for chunk in (1, 2)]
    touch(folder, *names, "sensor_extrinsics.parquet", "lidar_intrinsics.chunk_0001.parquet")
    chunk = tmp_path / "lidar" / "lidar_top_360fov.chunk_0002.zip"
    chunk.parent.mkdir()
    with zipfile.ZipFile(chunk, "w") as archive:
        archive.writestr(NAMES[0], b"x")
    (files,) = find_files(tmp_path)
    found = [(name, span.path.name) for name, span in files.tables_of("a", "sensor_extrinsics")]
    assert [name for name, _ in found] == ["sensor_extrinsics.offline", "sensor_extrinsics", "sensor_extrinsics"]
    assert {file for _, file in found} == {names[3], names[1], "sensor_extrinsics.parquet"}
    assert list(files.tables_of("a", "lidar_intrinsics")) == []
    assert len(list(files.tables_of("unknown chunk", "lidar_intrinsics"))) == 1


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("clips/a/lidar/a.lidar_top_360fov.parquet", True),
        ("lidar_top_360fov.chunk_0000.zip", True),
        ("camera/camera_front_wide_120fov/camera_front_wide_120fov.chunk_0000.zip", True),
        ("lidar/a.parquet", False),
        ("camera/a.mp4", False),
    ],
)
def test_only_its_own_names_are_recognised(tmp_path, name, known):
    root = touch(tmp_path, name)
    assert is_layout(root / "clips" if name.startswith("clips") else root) == known


def test_hidden_and_deep_files_are_left(tmp_path):
    touch(tmp_path, "lidar/.a.lidar_top_360fov.parquet", "lidar/.cache/b.lidar_top_360fov.parquet",
          "lidar/1/2/3/4/5/c.lidar_top_360fov.parquet", "lidar/d.lidar_top_360fov.parquet")  # fmt: skip
    (files,) = find_files(tmp_path)
    assert list(files.clips) == ["d"]
