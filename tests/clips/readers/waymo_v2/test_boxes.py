"""Boxes of Waymo v2: those that the records of v1 give for the same drive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cosmos_lidar.clips import open_clips
from cosmos_lidar.errors import DataError
from tests.clips.readers.waymo_records import (
    FIRST_US,
    PERIOD_US,
    SEGMENT,
    record_drive,
    write_components,
    write_tfrecord,
)

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
_NUMBER = {"vehicle": 1, "person": 2, "sign": 3, "cyclist": 4}


def write_boxes(root: Path, **changes: object) -> Path:
    """Write the components of a drive, with the boxes of its frames in axes of the vehicle."""
    rows = []
    recording = record_drive()
    for frame in recording.frames:
        own = np.linalg.inv(frame.world_SE3_ego) @ frame.boxes.world_SE3_box
        heading = Rotation.from_matrix(own[:, :3, :3]).as_euler("zyx")[:, 0]
        for place, (pose, size, kind, track) in enumerate(
            zip(own, frame.boxes.size_m, frame.boxes.kinds, frame.boxes.tracks, strict=True)
        ):
            box = {f"center.{axis}": float(value) for axis, value in zip("xyz", pose[:3, 3], strict=True)}
            box |= {f"size.{axis}": float(value) for axis, value in zip("xyz", size, strict=True)}
            row = {"key.segment_context_name": SEGMENT, "key.frame_timestamp_micros": frame.time_us,
                   "key.laser_object_id": track, "[LiDARBoxComponent].type": _NUMBER.get(kind, 0)}  # fmt: skip
            row |= {f"[LiDARBoxComponent].box.{key}": value for key, value in box.items()}
            rows.append(row | {"[LiDARBoxComponent].box.heading": float(heading[place])} | changes)
    write_components(root, recording)
    path = root / "lidar_box" / f"{SEGMENT}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(arrow.Table.from_pylist(rows), path)
    return root


def test_both_versions_give_the_same_boxes(tmp_path: Path) -> None:
    (first,) = open_clips(write_tfrecord(tmp_path / "v1" / "segment-a.tfrecord", record_drive()))
    (second,) = open_clips(write_boxes(tmp_path / "v2"))
    for time in (FIRST_US + PERIOD_US // 2, FIRST_US + PERIOD_US + 10_000):
        one, other = first.boxes(time), second.boxes(time)
        assert len(one) > 5
        assert (one.kinds, one.tracks) == (other.kinds, other.tracks)
        assert np.allclose(one.size_m, other.size_m)
        assert np.allclose(one.world_SE3_box, other.world_SE3_box, atol=1e-3)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("key.frame_timestamp_micros", 5, "no vehicle_pose at 5 us"),
        ("[LiDARBoxComponent].box.size.y", -1.0, "no finite box"),
        ("[LiDARBoxComponent].box.heading", None, "None in it.*heading"),
    ],
)
def test_broken_boxes(key: str, value: object, problem: str, tmp_path: Path) -> None:
    (clip,) = open_clips(write_boxes(tmp_path, **{key: value}))
    with pytest.raises(DataError, match=problem):
        clip.boxes(FIRST_US)


def test_segments_without_boxes(tmp_path: Path) -> None:
    assert open_clips(write_components(tmp_path, record_drive()))[0].boxes is None
