"""Boxes of Argoverse 2: in the city, at the moments of the sweeps; in a real log with the points they claim to hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.feather import read_feather
from cosmos_lidar.errors import DataError
from tests.clips.readers.test_av2 import FIRST_NS, STEP_NS, city_SE3_ego, pose_columns, write_log, write_table

NAMES = ["REGULAR_VEHICLE", "PEDESTRIAN", "BICYCLIST", "MOBILE_PEDESTRIAN_CROSSING_SIGN", "BOLLARD"]
AT = np.array([[30.0, 4.0 * number, 1.0] for number in range(5)])  # in the city; the first one drives along x


def write_boxes(log: Path, **changes: object) -> Path:
    rows = []
    for k in range(3):
        places = AT + np.array([k, 0, 0]) * (np.arange(5) == 0)[:, None]
        pose = city_SE3_ego(0.1 * k)
        angle = np.arctan2(pose[1, 0], pose[0, 0])
        own = (places - pose[:3, 3]) @ pose[:3, :3]
        rows += [((np.cos(-angle / 2), 0, 0, np.sin(-angle / 2)), tuple(place)) for place in own]
    columns = {
        "timestamp_ns": np.repeat(FIRST_NS + STEP_NS * np.arange(3), 5), "track_uuid": [f"t{n}" for n in range(5)] * 3,
        "category": NAMES * 3, "length_m": np.full(15, 4.0), "width_m": np.full(15, 2.0), "height_m": np.full(15, 1.5),
        **pose_columns(rows),
    }  # fmt: skip
    write_table(log / "annotations.feather", **columns | changes)
    return log


def test_boxes_stand_in_the_city(tmp_path: Path) -> None:
    (clip,) = open_clips(write_boxes(write_log(tmp_path)))
    found = clip.boxes(FIRST_NS // 1000 + 50_000)
    assert found.kinds == ("vehicle", "person", "cyclist", "sign", "other")
    assert found.tracks == ("t0", "t1", "t2", "t3", "t4")
    assert np.allclose(found.world_SE3_box[1:, :3, 3], AT[1:], atol=1e-6)
    assert np.allclose(found.world_SE3_box[0, :3, 3], AT[0] + [0.5, 0, 0], atol=1e-3)
    assert np.allclose(found.world_SE3_box[:, :3, :3], np.eye(3), atol=1e-6)
    assert np.allclose(found.size_m, [4.0, 2.0, 1.5])


def test_logs_without_boxes_and_broken_ones(tmp_path: Path) -> None:
    log = write_log(tmp_path)
    assert open_clips(log)[0].boxes is None
    changes = {"height_m": np.full(15, np.nan)}, {"qw": np.zeros(15)}, {"timestamp_ns": np.full(15, 5)}
    for change, problem in zip(changes, ("no finite box", "no unit quaternion", "no pose near"), strict=True):
        (clip,) = open_clips(write_boxes(log, **change))
        with pytest.raises(DataError, match=f"{problem}.*feather"):
            clip.boxes(FIRST_NS // 1000)


def test_real_boxes_hold_the_points_that_they_claim(test_data: Path) -> None:
    """``num_interior_pts`` of the file, for the two recorded sweeps: points are in axes of the vehicle at its time."""
    (log,) = (test_data / "av2" / "sensor" / "val").iterdir()
    (clip,) = open_clips(log)
    stated = read_feather(log / "annotations.feather", {"timestamp_ns": "integer", "track_uuid": "text",
                                                        "num_interior_pts": "integer"})  # fmt: skip
    sweep = sorted((log / "sensors" / "lidar").glob("*.feather"))[0]
    columns = read_feather(sweep, dict.fromkeys("xyz", "number"))
    points = np.stack([columns[axis].astype(np.float64) for axis in "xyz"], 1)
    poses = read_feather(log / "city_SE3_egovehicle.feather", {"timestamp_ns": "integer", **dict.fromkeys(
        ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m"), "number")})  # fmt: skip
    row = int(np.flatnonzero(poses["timestamp_ns"] == int(sweep.stem))[0])
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_quat([poses[name][row] for name in ("qx", "qy", "qz", "qw")]).as_matrix()
    world = points @ turn.T + [poses[name][row] for name in ("tx_m", "ty_m", "tz_m")]
    now = stated["timestamp_ns"] == int(sweep.stem)
    claims = dict(zip(stated["track_uuid"][now].tolist(), stated["num_interior_pts"][now].tolist(), strict=True))
    found = clip.boxes(int(sweep.stem) // 1000)
    assert sorted(found.tracks) == sorted(claims)
    counts = []
    for pose, size in zip(found.world_SE3_box, found.size_m, strict=True):
        own = (world - pose[:3, 3]) @ pose[:3, :3]
        counts.append(int((np.abs(own) <= size / 2 + 1e-3).all(1).sum()))
    wanted = np.array([claims[track] for track in found.tracks])
    assert wanted.sum() > 1000
    assert np.abs(np.array(counts) - wanted).sum() < 0.03 * wanted.sum()
