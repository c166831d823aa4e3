from __future__ import annotations

import numpy as np

from cosmos_lidar.clips import Sweep
from cosmos_lidar.errors import DataError


def test_good_sweeps(drive, found):
    assert found("sweeps", drive) == []


def test_unreadable_misshapen_and_empty_sweeps(make_clip, found):
    clip = make_clip(frames=6, cameras=False)

    def read(index: int) -> Sweep:
        if index == 0:
            raise DataError("cut off", file="a.bin", key="x")
        if index == 2:
            return Sweep(range_m=np.ones((3, 3), np.float32))
        return Sweep(range_m=np.full(clip.sensor.shape, 5.0 * (index != 4), np.float32))

    cut, shape, empty = found("sweeps", clip.with_lidar(read=read), sweeps=6)
    assert (cut.kind, cut.frame, cut.file, cut.evidence) == ("sweeps.unreadable", 0, "a.bin", {"key": "x"})
    assert (shape.kind, shape.frame) == ("sweeps.shape", 2)
    assert (empty.kind, empty.frame, empty.evidence["columns"]) == ("sweeps.no_return", 4, 0)
    assert {one.severity for one in (cut, shape, empty)} == {"error"}


def test_half_a_turn_and_points_without_return(make_clip, found):
    clip = make_clip(frames=3, cameras=False)
    angle = np.linspace(0, 2 * np.pi, 500, endpoint=False) + 0.001

    def read(index: int) -> Sweep:
        seen = angle[: 250 if index == 1 else 500]
        points = 10 * np.stack([np.cos(seen), np.sin(seen), 0 * seen], 1).astype(np.float32)
        return Sweep(points=points, without_return=7)

    note, partial = found("sweeps", clip.with_lidar(read=read))
    assert (note.severity, note.evidence) == ("note", {"points": 21, "sweeps": 3})
    assert (partial.kind, partial.frame, partial.evidence["usual_columns"]) == ("sweeps.partial", 1, 90)
    assert 44 <= partial.evidence["columns"] <= 46
