from __future__ import annotations

import numpy as np

from cosmos_lidar.clips import Sweep
from cosmos_lidar.clips.checks._recording import Recording
from cosmos_lidar.errors import DataError


def test_sweeps_are_chosen_evenly_with_neighbors(make_clip):
    clip = make_clip(frames=9)
    assert Recording(clip, 3).chosen(clip.lidar) == [0, 4, 8]
    assert Recording(clip, 3).neighbors(clip.lidar) == [(0, 1), (4, 5), (7, 8)]
    assert Recording(clip, 0).chosen(clip.lidar) == Recording(clip, 0).neighbors(clip.lidar) == []
    single = make_clip(frames=1)
    assert (Recording(single, 3).chosen(single.lidar), Recording(single, 3).neighbors(single.lidar)) == ([0], [])


def test_everything_is_read_once_and_errors_are_kept(make_clip):
    reads = []

    def read(index: int) -> Sweep:
        reads.append(index)
        if index == 1:
            raise DataError("broken")
        return Sweep(range_m=np.full((16, 90), 5.0, np.float32))

    clip = make_clip().with_lidar(read=read)
    recording = Recording(clip, 4)
    for _ in range(2):
        assert recording.sweep(clip.lidar, 0).range_m[0, 0] == 5.0
        assert recording.sweep(clip.lidar, 1) is None
        assert recording.sweep_error(clip.lidar, 1).problem == "broken"
        assert recording.sweep_error(clip.lidar, 0) is None
        assert list(recording.counted(clip.lidar)) == [0, 2, 3]
    assert sorted(reads) == [0, 1, 2, 3]


def test_only_some_sweeps_are_kept(make_clip):
    clip = make_clip(frames=40)
    recording = Recording(clip, 40)
    assert len(recording.counted(clip.lidar)) == 40
    assert len(recording._sweeps) == 16
