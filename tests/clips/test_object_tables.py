"""Tables of objects and lane lines: times of their numbers, what is broken, and the guide's folder."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.object_tables import open_boxes, open_lane_lines
from cosmos_lidar.errors import DataError
from tests.clips.readers.test_multiview import write_sample


def write_table(path: Path, members: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, document in members.items():
            content = document if isinstance(document, bytes) else json.dumps(document).encode()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def objects(x: float) -> dict[str, object]:
    pose = np.eye(4)
    pose[0, 3] = x
    return {"7": {"object_to_world": pose.tolist(), "object_lwh": [4.5, 1.9, 1.6], "object_is_moving": True,
                  "object_type": "Automobile"}}  # fmt: skip


def test_boxes_at_the_times_of_their_numbers(tmp_path: Path) -> None:
    members = {f"a.{number:06d}.all_object_info.json": objects(number) for number in (6, 0, 3, 99)}
    write_table(tmp_path / "all_object_info" / "a.tar", members)
    boxes = open_boxes(tmp_path, "a", {0: 1000, 3: 101_000, 6: 201_000})
    assert boxes is not None
    assert boxes(1000).world_SE3_box[0, 0, 3] == 0.0
    assert boxes(151_000).world_SE3_box[0, 0, 3] == pytest.approx(4.5)
    assert (boxes(201_000).kinds, boxes(201_000).tracks, boxes(201_000).size_m.tolist()) == (
        ("vehicle",), ("7",), [[4.5, 1.9, 1.6]],
    )  # fmt: skip
    assert open_boxes(tmp_path, "b", {0: 0}) is None
    assert open_boxes(tmp_path, "a", {1: 0}) is None


@pytest.mark.parametrize(
    "document",
    [b"not json", {"7": {"object_to_world": np.eye(4).tolist()}}, [1], objects(float("nan")),
     {"7": {"object_to_world": [[1.0]], "object_lwh": [1, 1, 1]}}],
)  # fmt: skip
def test_broken_objects_are_named(document: object, tmp_path: Path) -> None:
    write_table(tmp_path / "all_object_info" / "a.tar", {"a.000000.all_object_info.json": document})
    boxes = open_boxes(tmp_path, "a", {0: 0})
    assert boxes is not None
    with pytest.raises(DataError, match=r"a\.000000\.all_object_info\.json"):
        boxes(0)


def test_other_members_are_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "all_object_info" / "a.tar", {"a.txt": b"x"})
    write_table(tmp_path / "3d_lanelines" / "a.tar", {"a.txt": b"x"})
    with pytest.raises(DataError, match="no table of objects"):
        open_boxes(tmp_path, "a", {0: 0})
    with pytest.raises(DataError, match="no table of lane lines"):
        open_lane_lines(tmp_path, "a")


def test_lane_lines(tmp_path: Path) -> None:
    line = [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    shapes = [{"polyline3d": {"vertices": line}}, {"surface": {}}]
    labels = [{"labelData": {"shape3d": shape}} for shape in shapes]
    write_table(tmp_path / "3d_lanelines" / "a.tar", {"a.lanelines.json": {"labels": labels}})
    read = open_lane_lines(tmp_path, "a")
    assert read is not None
    assert [found.tolist() for found in read()] == [line]
    shapes[0]["polyline3d"]["vertices"] = [[0.0, 1.0]]
    write_table(tmp_path / "3d_lanelines" / "b.tar", {"b.lanelines.json": {"labels": labels}})
    broken = open_lane_lines(tmp_path, "b")
    assert broken is not None
    with pytest.raises(DataError, match="no lines"):
        broken()


def test_the_guides_folder_has_both(tmp_path: Path) -> None:
    write_sample(tmp_path)
    clip_id = open_clips(tmp_path)[0].clip_id
    write_table(tmp_path / "videos" / "all_object_info" / f"{clip_id}.tar",
                {f"{clip_id}.{number:06d}.all_object_info.json": objects(number) for number in (0, 3)})  # fmt: skip
    labels = [{"labelData": {"shape3d": {"polyline3d": {"vertices": [[0.0, 0, 0], [1.0, 0, 0]]}}}}]
    lines = {f"{clip_id}.lanelines.json": {"labels": labels}}
    write_table(tmp_path / "videos" / "3d_lanelines" / f"{clip_id}.tar", lines)
    first, second = open_clips(tmp_path)
    assert first.boxes(100_000).world_SE3_box[0, 0, 3] == pytest.approx(3.0)
    assert len(first.lane_lines()) == 1
    assert (second.boxes, second.lane_lines) == (None, None)
