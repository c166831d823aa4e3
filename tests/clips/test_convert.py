"""Conversions go on after anything: broken clips, interruptions, changed sources."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import Clip, convert, open_clips
from cosmos_lidar.clips.conversion_journal import ConversionJournal, FinishedClip
from cosmos_lidar.clips.convert import REPORT, convert_clips, find_writer
from cosmos_lidar.clips.cut import cut_frames
from cosmos_lidar.clips.writers._contract import WriteOptions
from cosmos_lidar.errors import DataError, UserError
from tests.clips.writers.conftest import make_drive
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def drives() -> list[Clip]:
    return [make_drive(seed, 2, cameras=()) for seed in range(4)]


@pytest.fixture
def scans(tmp_path) -> Path:
    """Four folders of KITTI scans."""
    points = np.random.default_rng(0).uniform(3, 30, (500, 4)).astype("<f4")
    for number in range(4):
        folder = tmp_path / "scans" / f"drive{number}" / "velodyne"
        folder.mkdir(parents=True)
        for frame in range(3):
            (folder / f"{frame:06d}.bin").write_bytes((points + number + frame).tobytes())
    return tmp_path / "scans"


@pytest.mark.parametrize("workers", [1, 3])
def test_all_clips_are_written_and_reported(drives, tmp_path, workers) -> None:
    result = convert_clips(drives, tmp_path, "ply", workers=workers)
    assert list(result.written) == [clip.clip_id for clip in drives]
    assert [clip.clip_id for clip in open_clips(tmp_path)] == [clip.clip_id for clip in drives]
    report = json.loads((tmp_path / REPORT).read_text())
    assert report["frames"] == 8
    assert report["errors"] == {}
    assert report["not_representable"]["range_image"]["pixels become points, which sensor.yaml projects back"] == {
        "clips": 4, "first": "drive_0",
    }  # fmt: skip
    assert report["bytes"] == sum(path.stat().st_size for path in tmp_path.glob("drive_*/*"))


def test_workers_change_no_byte(drives, tmp_path) -> None:
    for workers in (1, 2):
        convert_clips(drives, tmp_path / str(workers), "release", workers=workers)
    one, two = ({path.relative_to(root): path.read_bytes() for path in root.rglob("*.*") if "convert" not in path.name}
                for root in (tmp_path / "1", tmp_path / "2"))  # fmt: skip
    assert one == two


@pytest.mark.parametrize("workers", [1, 2])
def test_a_broken_clip_ends_no_work_on_the_others(drives, tmp_path, workers) -> None:
    def read(index: int):
        raise DataError("torn", file="there.bin")

    clips = [drives[0], drives[1].with_lidar(read=read), *drives[2:]]
    result = convert_clips(clips, tmp_path, "npz", workers=workers)
    assert result.errors == {"drive_1": "torn [file there.bin]"}
    assert sorted(path.name for path in tmp_path.glob("drive*")) == ["drive_0", "drive_2", "drive_3"]
    fixed = convert_clips(drives, tmp_path, "npz", workers=workers)
    assert fixed.errors == {}
    assert fixed.skipped == ("drive_0", "drive_2", "drive_3")


def test_finished_clips_are_skipped_until_something_changes(scans, tmp_path) -> None:
    out = tmp_path / "out"

    def convert(**changes: object) -> list[str]:
        clips = open_clips(scans, format="kitti")
        result = convert_clips(clips, out, "ply", **changes)
        return [clip.clip_id for clip in clips if clip.clip_id not in result.skipped]

    every = [f"drive{number}" for number in range(4)]
    assert convert() == every
    assert convert() == []
    os.utime(scans / "drive1" / "velodyne" / "000002.bin", ns=(1, 1))
    assert convert() == ["drive1"]
    (out / "drive2" / "000001.ply").unlink()
    (out / "drive3" / "sensor.yaml").write_text("cut")
    assert convert() == ["drive2", "drive3"]
    assert convert(options=WriteOptions(caption="new")) == every


def test_a_part_of_the_frames_is_another_state(scans, tmp_path) -> None:
    clips = open_clips(scans, format="kitti")
    convert_clips([cut_frames(clip, 0, 2) for clip in clips], tmp_path / "out", "ply")
    os.utime(scans / "drive1" / "velodyne" / "000002.bin", ns=(1, 1))
    result = convert_clips(
        [cut_frames(clip, 0, 2) for clip in open_clips(scans, format="kitti")], tmp_path / "out", "ply"
    )
    assert len(result.skipped) == 4  # the changed file is not among the frames
    assert convert_clips([cut_frames(clip, 1, 3) for clip in clips], tmp_path / "out", "ply").skipped == ()
    assert sorted(path.name for path in (tmp_path / "out" / "drive0").glob("*.ply")) == ["000001.ply", "000002.ply"]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt; in background jobs it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interruption_leaves_complete_clips(drives, tmp_path, interruptible, workers) -> None:
    def read(index: int):
        if index == 1:
            wait_until(lambda: all((tmp_path / f"drive_{seed}").exists() for seed in (0, 1)), "the drives before")
            os.kill(os.getppid() if workers > 1 else os.getpid(), signal.SIGINT)
            if workers > 1:
                wait_until(lambda: convert._work.stop.is_set(), "the parent stops its workers")
        return drives[2].lidar.read(index)

    clips = [*drives[:2], drives[2].with_lidar(read=read), drives[3]]
    with pytest.raises(KeyboardInterrupt):
        convert_clips(clips, tmp_path, "pcd", workers=workers)
    left = [path for path in tmp_path.rglob("*") if path.name.startswith(".")]
    assert left == []
    found = {path.name: len(list(path.glob("*.pcd"))) for path in tmp_path.glob("drive*")}
    assert set(found.values()) == {2}
    assert {"drive_0", "drive_1"} <= set(found)
    assert "drive_2" not in found
    assert set(json.loads((tmp_path / REPORT).read_text())["clips"]) == set(found)
    result = convert_clips(drives, tmp_path, "pcd", workers=workers)
    assert set(result.skipped) == set(found)
    assert len(result.written) == 4


def test_an_interruption_while_a_clip_is_recorded_loses_no_clip(drives, tmp_path, interruptible, monkeypatch) -> None:
    add, added = ConversionJournal.add, []

    def interrupted_add(journal: ConversionJournal, clip: FinishedClip) -> None:
        added.append(clip)
        if len(added) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        add(journal, clip)

    monkeypatch.setattr(ConversionJournal, "add", interrupted_add)
    with pytest.raises(KeyboardInterrupt):
        convert_clips(drives, tmp_path, "pcd", workers=2)
    reported = set(json.loads((tmp_path / REPORT).read_text())["clips"])
    assert reported == {path.name for path in tmp_path.glob("drive*")}
    assert set(convert_clips(drives, tmp_path, "pcd").skipped) == reported


KILLED = """
import os, signal, sys
from pathlib import Path
from cosmos_lidar.clips.convert import convert_clips
from tests.clips.writers.conftest import make_drive
from tests.waiting import wait_until
drives = [make_drive(seed, 2, cameras=()) for seed in range(2)]
def read(index):
    if index == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return drives[1].lidar.read(index)
convert_clips([drives[0], drives[1].with_lidar(read=read)], Path(sys.argv[1]), "ply")
"""


def test_a_killed_conversion_is_taken_up(tmp_path) -> None:
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=root, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert list(tmp_path.glob(".drive_1.part-*"))
    result = convert_clips([make_drive(seed, 2, cameras=()) for seed in range(2)], tmp_path, "ply", resume=True)
    assert result.skipped == ("drive_0",)
    assert [path.name for path in tmp_path.rglob(".*")] == []
    assert len(open_clips(tmp_path)) == 2


def test_a_worker_that_dies_is_named(drives, tmp_path) -> None:
    def read(index: int):
        os._exit(1)

    with pytest.raises(UserError, match="a worker process was ended from outside"):
        convert_clips([drives[0], drives[1].with_lidar(read=read)], tmp_path, "ply", workers=2)


def test_wrong_calls_are_refused(drives, tmp_path) -> None:
    with pytest.raises(UserError, match=r"no layout 'plyy': did you mean ply\? Known are .*pcd.*release"):
        find_writer("plyy")
    with pytest.raises(UserError, match="--resume: nothing was converted"):
        convert_clips(drives, tmp_path / "new", "ply", resume=True)
    with pytest.raises(DataError, match="two clips have this id.*clip drive_0"):
        convert_clips([drives[0], drives[0]], tmp_path / "new", "ply")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("")
    with pytest.raises(DataError, match="holds something else"):
        convert_clips(drives, tmp_path / "other", "ply")


def test_another_sensor_than_that_of_the_folder_is_an_error_of_its_clip(drives, tmp_path) -> None:
    other = replace(make_drive(9, 2, cameras=()), clip_id="other")
    wide = replace(drives[0].sensor, name="wide", max_range_m=90.0)
    result = convert_clips([*drives[:2], other.with_lidar(sensor=wide)], tmp_path, "release", workers=2)
    assert list(result.written) == ["drive_0", "drive_1"]
    assert "holds clips of the sensor small, not wide" in result.errors["other"]
