from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from cosmos_lidar.clips import Clip
from cosmos_lidar.clips.cut import cut_frames
from cosmos_lidar.demo.recordings import Recordings
from cosmos_lidar.demo.synthetic import _kept, top_up


def test_drives_are_made_once_and_read_back(rendered: Clip, tmp_path: Path) -> None:
    drive, asked = cut_frames(rendered, 0, 2), []

    def read(index: int) -> object:
        asked.append(index)
        return drive.read_sweep(index)

    counted = drive.with_lidar(read=read)
    (written,) = _kept(tmp_path / "drives", [counted])
    assert np.abs(written.range_map(1) - drive.range_map(1)).max() < 0.1  # float16
    assert set(written.cameras) == set(drive.cameras)
    assert written.lidar.cloud(0).labels is not None
    before = len(asked)
    assert before >= 2
    (again,) = _kept(tmp_path / "drives", [counted])
    assert len(asked) == before
    assert again.clip_id == written.clip_id == drive.clip_id


def test_recordings_are_topped_up_with_written_drives(rendered: Clip, tmp_path: Path) -> None:
    real, synthetic = replace(rendered, format="kitti", clip_id="real"), cut_frames(rendered, 0, 1)
    found = top_up(Recordings([real, replace(synthetic, cameras={})], [real]), tmp_path)
    assert [(clip.format, len(clip)) for clip in found.train] == [("kitti", 5), ("release", 1)]
    assert found.held_out == [real]
    alone = Recordings([real], [real])
    assert top_up(alone, tmp_path) is alone
