"""Boxes and lane lines of a drive are written to the tables of the release layout and of the guide's folder."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import Clip, open_clips
from cosmos_lidar.clips.boxes import Boxes
from cosmos_lidar.clips.controls import find_controls
from cosmos_lidar.clips.convert import convert_clips
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.synth import surround_rig, synthesize_drive


@pytest.fixture(scope="module")
def street() -> Clip:
    return synthesize_drive(5, uniform_sensor(8, 32), 3, cameras=surround_rig(32)[1:3])


def written(clip: Clip, layout: str, folder: Path) -> tuple[Clip, dict[str, str]]:
    result = convert_clips([clip], folder, layout)
    return open_clips(folder)[0], result.written[clip.clip_id].lost


@pytest.mark.parametrize(("layout", "cameras"), [("release", True), ("release", False), ("multiview", True)])
def test_read_back(layout: str, cameras: bool, street: Clip, tmp_path: Path) -> None:
    clip = street if cameras else replace(street, cameras={})
    found, lost = written(clip, layout, tmp_path)
    assert not {"boxes", "lane_lines"} & lost.keys()
    assert found.boxes is not None
    assert found.lane_lines is not None
    for time_us in clip.timestamps_us[:, 0].tolist():
        wanted, boxes = clip.boxes(time_us), found.boxes(time_us)
        assert len(wanted) > 3
        assert (boxes.tracks, boxes.kinds) == (wanted.tracks, wanted.kinds)
        np.testing.assert_allclose(boxes.world_SE3_box, wanted.world_SE3_box, atol=1e-9)
        np.testing.assert_allclose(boxes.size_m, wanted.size_m, atol=1e-9)
    for line, again in zip(clip.lane_lines(), found.lane_lines(), strict=True):
        np.testing.assert_allclose(again, line, atol=1e-9)


def test_a_control_video_of_what_was_written(street: Clip, tmp_path: Path) -> None:
    found, _ = written(street, "release", tmp_path)
    name = next(iter(street.cameras))
    for control in ("boxes", "lanes"):
        draw = find_controls()[control].open
        before, after = (draw(clip)(clip.cameras[name], 1).astype(int) for clip in (street, found))
        assert before.max() > 0
        assert (np.abs(before - after).max(axis=-1) > 40).mean() < 0.02


def test_what_moves(tmp_path: Path) -> None:
    street = synthesize_drive(5, uniform_sensor(8, 32), 3)

    def boxes(time_us: int) -> Boxes:
        poses = np.tile(np.eye(4), (2, 1, 1))
        poses[0, 0, 3] = 5e-6 * (time_us - int(street.timestamps_us[0, 0]))  # 5 m/s
        return Boxes(poses, np.ones((2, 3)), ("vehicle", "sign"), ("a", "b"))

    written(replace(street, boxes=boxes), "release", tmp_path)
    with tarfile.open(tmp_path / "all_object_info" / f"{street.clip_id}.tar") as tar:
        for member in tar.getmembers():
            table = json.load(tar.extractfile(member))
            assert [table[track]["object_is_moving"] for track in "ab"] == [True, False]
            assert [table[track]["object_type"] for track in "ab"] == ["Automobile", "Sign"]
        assert len(tar.getmembers()) == 3


def test_other_layouts_name_them_as_lost(street: Clip, tmp_path: Path) -> None:
    _, lost = written(street, "ply", tmp_path)
    assert {"boxes", "lane_lines"} <= lost.keys()
