from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import Sweep
from cosmos_lidar.clips.health import check_clip


@dataclass(frozen=True)
class Stored:
    files: tuple[Path, ...]

    def __call__(self, index: int) -> Sweep:
        return Sweep(range_m=np.load(self.files[index]))


@pytest.fixture
def stored(make_clip, tmp_path):
    clip = make_clip(frames=10, cameras=False)
    files = tuple(tmp_path / f"{index:03d}.npy" for index in range(10))
    for index, file in enumerate(files):
        np.save(file, clip.lidar.read(index).range_m)
    return clip.with_lidar(read=Stored(files)), files


def test_missing_and_empty_files_are_named_without_reading(stored, found):
    clip, files = stored
    assert found("files", clip) == []
    files[3].unlink()
    files[6].write_bytes(b"")
    missing, empty = found("files", clip, sweeps=0)
    assert missing.text == "sweep 3: the file is missing or cannot be read: No such file or directory (003.npy)"
    assert (missing.frame, missing.frame_id, missing.file) == (3, "9", str(files[3]))
    assert empty.text == "sweep 6: the file is empty: 0 bytes (006.npy)"
    assert {one.severity for one in (missing, empty)} == {"error"}
    assert missing.text in check_clip(clip, sweeps=0).problems


def test_many_missing_files_are_counted(stored, found):
    clip, files = stored
    for file in files[1:9]:
        file.unlink()
    findings = found("files", clip, sweeps=0)
    assert [one.frame for one in findings] == [1, 2, 3, 4, 5, 6]
    assert findings[-1].text == "and 3 more sweeps that cannot be read"
    assert findings[-1].evidence == {"of": 8, "sweeps": [6, 7, 8]}


def test_missing_images(drive, found, tmp_path):
    @dataclass(frozen=True)
    class Images:
        files: tuple[Path, ...]

    (name, camera), *_ = drive.cameras.items()
    (tmp_path / "0.png").write_bytes(b"png")
    read = Images(tuple(tmp_path / f"{index}.png" for index in range(2)))
    (one,) = found("files", replace(drive, cameras={name: replace(camera, read=read)}), sweeps=0)
    assert one.text == "image 1: the file is missing or cannot be read: No such file or directory (1.png)"
    assert (one.camera, one.file) == (name, str(tmp_path / "1.png"))


def test_frame_numbers_that_are_left_out(make_clip, found):
    clip = make_clip(frames=12, cameras=False)
    numbers = [f"{3 * k:06d}" for k in range(15) if k not in (4, 5, 9)]
    (one,) = found("files", clip.with_lidar(frame_ids=tuple(numbers)))
    assert one.text == "3 frame numbers are left out, the first between 000009 and 000018"
    assert (one.severity, one.frame, one.evidence["left_out"]) == ("warning", 3, 3)
    for names in ([f"{k}" for k in range(12)], [f"{k * k}" for k in range(12)], [f"f{k}" for k in range(12)]):
        assert found("files", clip.with_lidar(frame_ids=tuple(names))) == []
