"""Shards of single frames: resumed where they were interrupted, and made again where their sources have changed."""

from __future__ import annotations

import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("megatron.energon")

from cosmos_lidar.clips.clip import CameraStream, Clip, LidarStream
from cosmos_lidar.clips.files import ImageFiles
from cosmos_lidar.clips.source_state import frame_state
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.shards.frames import FrameFormat, write_frames
from cosmos_lidar.shards.manifest import is_unfinished
from cosmos_lidar.shards.plan import PrepareOptions

SENSOR = uniform_sensor(4, 8, name="tiny")
FRAMES = 4
OPTIONS = PrepareOptions(split=(0.67, 0.33), samples_per_shard=2, bad_budget=0.3)


def recorded(root: Path, name: str) -> Clip:
    """A clip of four sweeps without points and a camera of four files."""
    files = tuple(root / name / f"{number}.png" for number in range(FRAMES))
    times_us = 100_000 * np.arange(FRAMES)
    spans_us = np.stack([times_us, times_us + 99_000], 1)
    lidar = LidarStream("top", SENSOR, tuple(map(str, range(FRAMES))), spans_us, lambda index: None)
    return Clip(
        name,
        "test",
        root / name,
        {lidar.name: lidar},
        {"front": CameraStream("front", times_us, ImageFiles(files, name))},
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for clip in "ABC":
        (tmp_path / "rec" / clip).mkdir(parents=True)
        for number in range(FRAMES):
            (tmp_path / "rec" / clip / f"{number}.png").write_bytes(f"{clip}{number}".encode())
    return tmp_path / "rec"


class Maker:
    """Packs the bytes of the image of a frame; counts what it packs."""

    def __init__(self) -> None:
        self.packed: list[tuple[str, int, bool]] = []
        self.stop_after = 1000

    def pack(self, clip: Clip, index: int, mirrored: bool) -> dict[str, bytes]:
        if len(self.packed) == self.stop_after:
            raise KeyboardInterrupt
        content = clip.cameras["front"].read.files[index].read_bytes()
        if content == b"damaged":
            raise DataError("damaged", file=clip.source, wanted="an image")
        self.packed.append((clip.clip_id, index, mirrored))
        return {"image": content[::-1] if mirrored else content}

    def format(self, **changed: object) -> FrameFormat:
        usual = {"pack": self.pack, "sample_type": "test", "document": "test.json", "settings": {"size": (2, 3)}}
        return FrameFormat(
            **usual | {"state": lambda clip, index: frame_state(clip, index, {"front": index})} | changed
        )


def write(root: Path, out: Path, maker: Maker | None = None, **changed: object) -> dict[str, int]:
    clips = [recorded(root, name) for name in "ABC"]
    return write_frames(clips, (maker or Maker()).format(**changed), out, OPTIONS)


def content(out: Path) -> dict[str, list[tuple[str, bytes]]]:
    found = {}
    for path in sorted(out.glob("*.tar")):
        with tarfile.open(path) as tar:
            found[path.name] = [(member.name, tar.extractfile(member).read()) for member in tar]
    return found


def times(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in out.glob("*.tar")}


def test_what_is_written(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert write(root, out, every=2, mirror=True, inputs={"weights": "abc"}) == {"train": 8, "val": 2}
    document = json.loads((out / "test.json").read_text())
    assert document["samples"] == {"train": 8, "val": 2}
    assert (document["size"], document["weights"], document["left_out"]) == ([2, 3], "abc", [])
    (val,) = document["clips"]["val"]
    assert content(out)["val-000000.tar"] == [
        part
        for index in (0, 2)
        for part in (
            (f"{val}_{index:06d}.image", f"{val}{index}".encode()),
            (
                f"{val}_{index:06d}.meta.json",
                json.dumps({"clip_id": val, "frame_id": str(index), "mirrored": False}).encode(),
            ),
        )
    ]
    train = [part for name, parts in content(out).items() if name.startswith("train") for part in parts]
    assert len(content(out)) == 5  # a frame and its mirrored one lie in one shard
    assert [name.partition(".")[0].endswith("_mirrored") for name, _ in train] == [False, False, True, True] * 4
    first = document["clips"]["train"][0]
    assert dict(train)[f"{first}_000002_mirrored.image"] == f"2{first}".encode()


def test_an_interrupted_run_resumes(root: Path, tmp_path: Path) -> None:
    write(root, tmp_path / "whole")
    maker = Maker()
    maker.stop_after = 5
    with pytest.raises(KeyboardInterrupt):
        write(root, tmp_path / "out", maker)
    assert is_unfinished(tmp_path / "out")
    again = Maker()
    assert write(root, tmp_path / "out", again) == {"train": 8, "val": 4}
    assert len(again.packed) == 12 - 4  # two shards of two were finished
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert not is_unfinished(tmp_path / "out")
    idle = Maker()
    assert write(root, tmp_path / "out", idle) == {"train": 8, "val": 4}
    assert idle.packed == []


def test_what_changed_is_made_again_and_nothing_else(root: Path, tmp_path: Path, caplog) -> None:
    out = tmp_path / "out"
    write(root, out, inputs={"weights": "1"})
    before, bytes_before = times(out), content(out)
    (root / "B" / "1.png").write_bytes(b"other")
    (holder,) = [name for name, parts in bytes_before.items() if any(part == "B_000001.image" for part, _ in parts)]
    maker = Maker()
    write(root, out, maker, inputs={"weights": "1"})
    assert "have changed: writing it again" in caplog.text
    assert maker.packed == [("B", 0, False), ("B", 1, False)]
    assert {name for name, time in times(out).items() if time != before[name]} == {holder}
    assert dict(content(out)[holder])["B_000001.image"] == b"other"
    for name in out.glob("val*.tar"):
        name.write_bytes(name.read_bytes()[:100])
    damaged = Maker()
    write(root, out, damaged, inputs={"weights": "1"})
    assert len(damaged.packed) == 4
    everything = Maker()
    write(root, out, everything, inputs={"weights": "2"})
    assert len(everything.packed) == 12
    assert json.loads((out / "test.json").read_text())["weights"] == "2"


def test_a_frame_that_is_repaired_comes_in(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (root / "C" / "3.png").write_bytes(b"damaged")
    assert sum(write(root, out).values()) == 11
    left_out = json.loads((out / "test.json").read_text())["left_out"]
    assert [(one["clip"], one["frame"]) for one in left_out] == [("C", "3")]
    (root / "C" / "3.png").write_bytes(b"repaired")
    assert sum(write(root, out).values()) == 12
    assert json.loads((out / "test.json").read_text())["left_out"] == []


def test_too_many_bad_frames_end_the_run(root: Path, tmp_path: Path) -> None:
    for number in range(FRAMES):
        (root / "B" / f"{number}.png").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"damaged.*an image"):
        write(root, tmp_path / "out")
    assert is_unfinished(tmp_path / "out")


def test_other_settings_and_foreign_folders_are_refused(root: Path, tmp_path: Path) -> None:
    write(root, tmp_path / "out")
    for other in ({"settings": {"size": (2, 4)}}, {"every": 2}, {"mirror": True}):
        with pytest.raises(DataError, match="other clips or other options"):
            write(root, tmp_path / "out", **other)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").touch()
    with pytest.raises(DataError, match="the folder is not empty"):
        write(root, tmp_path / "mine")


def test_the_state_of_a_frame(root: Path) -> None:
    clip = recorded(root, "A")
    camera = clip.cameras["front"]
    before = frame_state(clip, 1, {"front": 1})
    changed = [
        frame_state(clip, 2, {"front": 1}),
        frame_state(clip, 1, {"front": 2}),
        frame_state(clip, 1, {"front": None}),
        frame_state(replace(clip, cameras={"front": replace(camera, lidar_SE3_camera=np.eye(4))}), 1, {"front": 1}),
        frame_state(clip.with_lidar(sensor=uniform_sensor(4, 9, name="tiny")), 1, {"front": 1}),
    ]
    assert len({before, *changed}) == 6
    os.utime(root / "A" / "2.png", ns=(1, 1))
    assert frame_state(clip, 1, {"front": 1}) == before
    os.utime(root / "A" / "1.png", ns=(1, 1))
    assert frame_state(clip, 1, {"front": 1}) != before
