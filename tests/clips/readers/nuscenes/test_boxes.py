"""Boxes of nuScenes tables: of key frames, in the world, interpolated between them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.errors import DataError
from tests.clips.readers.test_nuscenes import FIRST_US, STEP_US, tables


def with_boxes(rows: dict, **changes: object) -> None:
    """Two key frames of a car that drives along x, and a bicycle rack in the first one."""
    rows["sample"] = [{"token": f"s{k}", "scene_token": "sc", "timestamp": FIRST_US + 2 * k * STEP_US} for k in (0, 1)]
    for row in rows["sample_data"]:
        row["sample_token"] = "s0"
    rows["category"] = [{"token": "ca", "name": "vehicle.car"}, {"token": "cr", "name": "static_object.bicycle_rack"}]
    rows["instance"] = [{"token": "i0", "category_token": "ca"}, {"token": "i1", "category_token": "cr"}]
    turned = [np.sqrt(0.5), 0, 0, np.sqrt(0.5)]
    boxes = [("s0", "i0", [10, 2, 1]), ("s0", "i1", [0, 8, 0.5]), ("s1", "i0", [14, 2, 1])]
    rows["sample_annotation"] = [
        {"token": f"a{k}", "sample_token": sample, "instance_token": instance, "translation": place,
         "size": [1.9, 4.5, 1.6], "rotation": turned} | changes
        for k, (sample, instance, place) in enumerate(boxes)
    ]  # fmt: skip


def test_boxes_of_key_frames(tmp_path: Path) -> None:
    tables(tmp_path, edit=with_boxes)
    (clip,) = open_clips(tmp_path)
    found = clip.boxes(FIRST_US)
    assert (found.kinds, found.tracks) == (("vehicle", "other"), ("i0", "i1"))
    assert found.size_m[0].tolist() == [4.5, 1.9, 1.6]  # length, width, height
    assert np.allclose(found.world_SE3_box[:, :3, 3], [[10, 2, 1], [0, 8, 0.5]])
    assert np.allclose(found.world_SE3_box[0, :3, 0], [0, 1, 0])
    assert np.allclose(clip.boxes(FIRST_US + STEP_US // 2).world_SE3_box[0, :3, 3], [11, 2, 1])


def test_tables_without_boxes(tmp_path: Path) -> None:
    tables(tmp_path)
    assert open_clips(tmp_path)[0].boxes is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"size": [1, 2]}, "other lengths"),
        ({"rotation": [0, 0, 0, 0]}, "no unit quaternion"),
        ({"instance_token": "gone"}, "no such record.*instance.json.*gone"),
        ({"size": "big"}, "'big'.*sample_annotation.json"),
    ],
)
def test_broken_boxes(changes: dict, problem: str, tmp_path: Path) -> None:
    tables(tmp_path, edit=lambda rows: with_boxes(rows, **changes))
    (clip,) = open_clips(tmp_path)
    with pytest.raises(DataError, match=problem):
        clip.boxes(FIRST_US)
