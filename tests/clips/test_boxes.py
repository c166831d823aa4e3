"""Boxes at any time: interpolated between labels, kinds by the names of classes, corners."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cosmos_lidar.clips.boxes import Boxes, RecordedBoxes, kind_of


def boxes(x: dict[str, float], yaw_deg: float = 0.0) -> Boxes:
    poses = np.tile(np.eye(4), (len(x), 1, 1))
    poses[:, :3, :3] = Rotation.from_euler("z", yaw_deg, degrees=True).as_matrix()
    poses[:, 0, 3] = list(x.values())
    return Boxes(poses, np.tile([4.0, 2.0, 1.5], (len(x), 1)), ("vehicle",) * len(x), tuple(x))


def test_between_labels_boxes_move_and_turn() -> None:
    moments = [boxes({"a": 0.0}), boxes({"b": 5.0, "a": 10.0}, 40.0), boxes({})]
    recorded = RecordedBoxes(np.array([0, 1000, 2000]), moments)
    quarter = recorded(250)
    assert quarter.tracks == ("a",)
    assert quarter.world_SE3_box[0, 0, 3] == pytest.approx(2.5)
    assert np.degrees(np.arctan2(*quarter.world_SE3_box[0, [1, 0], 0])) == pytest.approx(10.0)
    late = recorded(750)
    assert late.world_SE3_box[:, 0, 3] == pytest.approx([5.0, 7.5])  # b is in one label alone
    assert recorded(1000).world_SE3_box[1, 0, 3] == 10.0
    assert recorded(-900).world_SE3_box[0, 0, 3] == 0.0
    assert len(recorded(-1100)) == len(recorded(3200)) == len(recorded(1600)) == 0


def test_kinds() -> None:
    names = ["Car", "Bus/RV", "Pedestrian", "Bicyclist", "Motorcycle", "traffic sign", "moving person", "Animal"]
    wanted = ["vehicle", "vehicle", "person", "cyclist", "cyclist", "sign", "person", "other"]
    assert [kind_of(name) for name in names] == wanted


def test_corners() -> None:
    corners = boxes({"a": 10.0}, 90.0).corners()[0]
    assert corners[7] == pytest.approx([9.0, 2.0, 0.75])  # front, left, top of one that looks to y
    assert corners[0] == pytest.approx([11.0, -2.0, -0.75])
