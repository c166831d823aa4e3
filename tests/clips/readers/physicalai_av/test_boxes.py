"""Boxes of PhysicalAI-AV: rows in axes of the vehicle at their own times, in the world at any time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("DracoPy")
pytest.importorskip("pyarrow")

from cosmos_lidar.clips import open_clips
from cosmos_lidar.errors import DataError
from tests.clips.readers.physicalai_av.recording import FIRST_US, ONE, Recording, quaternion
from tests.clips.readers.synthetic import ego_pose

PARKED, SPEED = np.array([20.0, 5.0, 1.0]), np.array([8.0, 0.0, 0.0])


def write(root: Path, **changes: object) -> object:
    """Write a recording with a parked and a driving object, labeled at 10 Hz, 40 ms apart; return its clip."""
    Recording().write_clips(root, (ONE,))
    rows = []
    for track, shift, name in (("p", 0, "automobile"), ("d", 40_000, "rider")):
        for time in range(FIRST_US + shift, FIRST_US + 300_000, 100_000):
            world = np.eye(4)
            world[:3, 3] = PARKED + (SPEED * (time - FIRST_US) / 1e6 if track == "d" else 0)
            own = np.linalg.inv(ego_pose((time - FIRST_US) / 1e6)) @ world
            turn = {f"orientation_{key[1:]}": value for key, value in quaternion(own).items() if key.startswith("q")}
            places = dict(zip(("center_x", "center_y", "center_z"), own[:3, 3].tolist(), strict=True))
            sizes = {"size_x": 4.0, "size_y": 2.0, "size_z": 1.5}
            rows.append({"timestamp_us": time, "source": "auto", "track_id": track, **places, **sizes, **turn,
                         "label_class": name, "reference_frame": "rig", "reference_frame_timestamp_us": time}
                        | changes)  # fmt: skip
    Recording()._write(root / ONE / "labels" / f"{ONE}.obstacle.offline.parquet", rows)
    (clip,) = open_clips(root)
    return clip


def test_boxes_stand_in_the_world(tmp_path: Path) -> None:
    found = write(tmp_path).boxes(FIRST_US + 100_000)
    assert (found.tracks, found.kinds) == (("p", "d"), ("vehicle", "cyclist"))
    wanted = [PARKED, PARKED + 0.1 * SPEED]
    assert np.allclose(found.world_SE3_box[:, :3, 3], wanted, atol=5e-3)
    assert np.allclose(found.world_SE3_box[:, :3, :3], np.eye(3), atol=5e-3)
    assert found.size_m.tolist() == [[4.0, 2.0, 1.5]] * 2


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"reference_frame": "world"}, "boxes in axes 'world'"),
        ({"reference_frame_timestamp_us": 3}, "axes of other times"),
        ({"size_z": -1.0}, "no finite box"),
        ({"orientation_w": 7.0}, "no unit quaternion"),
        ({"center_x": None}, "center_x"),
    ],
)
def test_broken_boxes(changes: dict, problem: str, tmp_path: Path) -> None:
    clip = write(tmp_path, **changes)
    with pytest.raises(DataError, match=problem):
        clip.boxes(FIRST_US)


def test_clips_without_labels(tmp_path: Path) -> None:
    assert open_clips(Recording().write_clips(tmp_path, (ONE,)))[0].boxes is None
