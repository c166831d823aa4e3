"""Boxes of Waymo records: those of the drive that the records are of, at any time between the frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.errors import DataError
from tests.clips.readers.waymo_records import FIRST_US, PERIOD_US, record_drive, write_tfrecord


def test_boxes_are_those_of_the_drive(tmp_path: Path) -> None:
    recording = record_drive()
    (clip,) = open_clips(write_tfrecord(tmp_path / "a.tfrecord", recording))
    assert clip.boxes is not None
    first, second = (frame.boxes for frame in recording.frames[:2])
    found = clip.boxes(FIRST_US + PERIOD_US // 2)
    assert len(found) > 5
    assert (found.kinds, found.tracks) == (first.kinds, first.tracks)
    assert {"vehicle"} <= set(found.kinds)
    assert np.allclose(found.size_m, first.size_m)
    assert np.allclose(found.world_SE3_box[:, :3, 3], first.world_SE3_box[:, :3, 3])
    turn = np.einsum("nij,nij->n", found.world_SE3_box[:, :3, :3], first.world_SE3_box[:, :3, :3])
    assert turn.min() > 1 + 2 * np.cos(np.radians(6))  # slopes of the road are not in the labels
    between = clip.boxes(FIRST_US + PERIOD_US)
    both = [track for track in between.tracks if track in first.tracks and track in second.tracks]
    for track in both:
        ends = [boxes.world_SE3_box[boxes.tracks.index(track), :3, 3] for boxes in (first, second)]
        assert np.allclose(between.world_SE3_box[between.tracks.index(track), :3, 3], np.mean(ends, 0), atol=1e-6)


def test_records_without_labels_have_no_boxes(tmp_path: Path) -> None:
    recording = record_drive()
    bare = [replace(frame, boxes=replace(frame.boxes, tracks=(), kinds=(), world_SE3_box=np.zeros((0, 4, 4)),
                                         size_m=np.zeros((0, 3)))) for frame in recording.frames]  # fmt: skip
    (clip,) = open_clips(write_tfrecord(tmp_path / "a.tfrecord", recording, bare))
    assert clip.boxes is None


def test_broken_labels_are_named(tmp_path: Path) -> None:
    recording = record_drive()
    sizes = recording.frames[0].boxes.size_m.copy()
    sizes[0, 0] = np.nan
    broken = [replace(recording.frames[0], boxes=replace(recording.frames[0].boxes, size_m=sizes))]
    (clip,) = open_clips(write_tfrecord(tmp_path / "a.tfrecord", recording, broken))
    with pytest.raises(DataError, match=r"a box that is none.*laser_labels"):
        clip.boxes(FIRST_US)


def test_a_real_record(test_data: Path) -> None:
    """75 labels, all near the vehicle, upright, of the sizes of what they are."""
    (clip,) = open_clips(test_data / "waymo" / "v1" / "pvps_data_one_frame.tfrecord")
    boxes = clip.boxes(int(clip.cameras["FRONT"].timestamps_us[0]))
    assert len(boxes) == len(set(boxes.tracks)) == 75
    assert set(boxes.kinds) == {"vehicle", "person", "sign", "cyclist"}
    heights = {kind: boxes.size_m[[one == kind for one in boxes.kinds], 2] for kind in ("vehicle", "person")}
    assert 1.2 < np.median(heights["vehicle"]) < 3
    assert 1.4 < np.median(heights["person"]) < 2
    away = boxes.world_SE3_box[:, :3, 3] - clip.cameras["FRONT"].world_SE3_camera[0, :3, 3]
    assert np.linalg.norm(away, axis=1).max() < 90
    assert boxes.world_SE3_box[:, 2, 2].min() > 0.99
