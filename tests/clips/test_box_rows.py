"""Boxes of table rows: at common times, and of objects that each have times of their own."""

from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.box_rows import BoxRows, TrackedBoxes, box_poses, recorded_boxes


def rows(labels: list[tuple[int, str, float]]) -> BoxRows:
    """Return labels of (time, track, x)."""
    poses = np.tile(np.eye(4), (len(labels), 1, 1))
    poses[:, 0, 3] = [x for _, _, x in labels]
    times = np.array([time for time, _, _ in labels], np.int64)
    names = [track for _, track, _ in labels]
    return BoxRows(times, poses, np.ones((len(labels), 3)), ["vehicle"] * len(labels), names)


def places(boxes: object) -> dict[str, float]:
    return dict(zip(boxes.tracks, boxes.world_SE3_box[:, 0, 3].tolist(), strict=True))


def test_rows_of_one_time_are_a_moment() -> None:
    found = recorded_boxes(rows([(1000, "a", 1.0), (0, "a", 0.0), (0, "b", 5.0), (1000, "c", 7.0)]))
    assert found.times_us.tolist() == [0, 1000]
    assert [places(moment) for moment in found.moments] == [{"a": 0.0, "b": 5.0}, {"a": 1.0, "c": 7.0}]
    assert places(found(250)) == {"a": pytest.approx(0.25), "b": 5.0}


def test_objects_with_times_of_their_own() -> None:
    """b is labeled between the labels of a; c is away for a while."""
    labels = [(time, "a", time / 100) for time in range(0, 1000, 100)]
    labels += [(time, "b", -time / 100) for time in range(150, 950, 100)]
    labels += [(0, "c", 3.0), (100, "c", 3.0), (800, "c", 4.0), (900, "c", 4.0)]
    found = TrackedBoxes(rows(labels[::-1]))
    assert found.step_us == 100.0
    assert places(found(200)) == {"a": 2.0, "b": pytest.approx(-2.0)}
    assert places(found(375)) == {"a": pytest.approx(3.75), "b": pytest.approx(-3.75)}
    assert places(found(60)) == {"a": pytest.approx(0.6), "c": pytest.approx(3.0)}
    assert places(found(120)) == {"a": pytest.approx(1.2), "b": -1.5, "c": 3.0}
    assert places(found(940)) == {"a": 9.0, "c": 4.0}  # a half step after the last label
    assert places(found(951)) == {}
    assert len(found(-51)) == 0


def test_rows_that_are_no_boxes() -> None:
    with pytest.raises(ValueError, match="row 1: no unit quaternion"):
        box_poses(np.array([[1.0, 0, 0, 0], [1.0, 1.0, 0, 0]]), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="row 1: no finite box"):
        BoxRows(
            np.zeros(2), np.tile(np.eye(4), (2, 1, 1)), np.array([[1.0] * 3, [1.0, -1.0, 1.0]]), ["other"] * 2, "ab"
        )
    turned = box_poses(np.array([[np.sqrt(0.5), 0, 0, np.sqrt(0.5)]]), np.array([[1.0, 2, 3]]))[0]
    assert np.allclose(turned, [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])
