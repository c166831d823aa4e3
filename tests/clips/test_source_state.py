"""Shards of recordings that have changed are made again, and no others."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from cosmos_lidar.clips import CameraStream, open_clips
from cosmos_lidar.clips.cut import cut_frames
from cosmos_lidar.clips.source_state import clip_state, files_state, recording_state
from cosmos_lidar.clips.video import VideoFile, write_mp4
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.prepare import prepare_shards
from cosmos_lidar.shards.videos import find_videos, prepare_videos

OPTIONS = PrepareOptions(split=(1.0,), samples_per_shard=1, bad_budget=0.5)


def scan(file: Path, seed: int, cut: bool = False) -> None:
    rng = np.random.default_rng(seed)
    turn, rise, far = rng.uniform(-3, 3, 2000), rng.uniform(-0.4, 0.02, 2000), rng.uniform(4, 60, 2000)
    flat = far * np.cos(rise)
    points = np.stack([flat * np.cos(turn), flat * np.sin(turn), far * np.sin(rise), far / 60], 1).astype("<f4")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(points.tobytes()[: 1001 if cut else None])


def opened(root: Path) -> list:
    return open_clips(root, format="kitti")


def test_fixed_recordings_are_written_again(tmp_path: Path, caplog) -> None:
    root, out = tmp_path / "rec", tmp_path / "out"
    for c, clip in enumerate("ABC"):
        for k in range(3):
            scan(root / clip / "velodyne" / f"{k:06d}.bin", 10 * c + k, cut=(clip, k) == ("B", 1))
    manifest = prepare_shards(opened(root), out, OPTIONS)
    assert sum(shard.frames for shard in manifest.shards) == 8
    untouched = {shard.name for shard in manifest.shards if set(shard.clips) == {"A"}}
    times = {name: (out / name).stat().st_mtime_ns for name in untouched}
    scan(root / "B" / "velodyne" / "000001.bin", 11)
    scan(root / "C" / "velodyne" / "000002.bin", 122)
    caplog.clear()
    fixed = prepare_shards(opened(root), out, OPTIONS)
    assert "have changed: writing it again" in caplog.text
    assert sum(shard.frames for shard in fixed.shards) == 9
    assert json.loads((out / "report.json").read_text())["bad_frames"] == []
    assert times == {name: (out / name).stat().st_mtime_ns for name in untouched}
    fresh = prepare_shards(opened(root), tmp_path / "fresh", OPTIONS)
    assert [shard.sha256 for shard in fresh.shards] == [shard.sha256 for shard in fixed.shards]
    caplog.clear()
    prepare_shards(opened(root), out, OPTIONS)
    assert "writing it again" not in caplog.text


def test_replaced_videos_are_written_again(tmp_path: Path) -> None:
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    for k in range(3):
        write_mp4(videos / f"{k}.mp4", [np.full((32, 48, 3), 40 * k, np.uint8)] * 4, 10.0)
    (videos / "1.mp4").write_bytes(b"damaged")
    assert sum(record.samples for record in prepare_videos(find_videos(videos), out, OPTIONS)) == 2
    write_mp4(videos / "1.mp4", [np.full((32, 48, 3), 99, np.uint8)] * 4, 10.0)
    assert sum(record.samples for record in prepare_videos(find_videos(videos), out, OPTIONS)) == 3


def test_states(tmp_path: Path) -> None:
    for k in range(3):
        scan(tmp_path / "d" / "velodyne" / f"{k:06d}.bin", k)
    (clip,) = opened(tmp_path / "d")
    first, last = clip_state(clip, 0, 2), clip_state(clip, 2, 3)
    os.utime(tmp_path / "d" / "velodyne" / "000002.bin", ns=(1, 1))
    assert (clip_state(clip, 0, 2) == first, clip_state(clip, 2, 3) == last) == (True, False)
    (five,) = open_clips(tmp_path / "d", format="kitti", columns=5)
    assert clip_state(five, 0, 2) != first
    assert files_state([tmp_path / "absent"]) != files_state([])


def test_the_state_of_a_recording_changes_with_every_part_of_it(tmp_path: Path) -> None:
    for k in range(3):
        scan(tmp_path / "a" / "velodyne" / f"{k:06d}.bin", k)
    (clip,) = opened(tmp_path)
    clip = clip.with_lidar(world_SE3_lidar=np.tile(np.eye(4), (3, 2, 1, 1)))
    image = CameraStream("front", np.array([0]), VideoFile(tmp_path / "a" / "velodyne" / "000001.bin", "a"))
    clip = replace(clip, cameras={"front": image})
    part = cut_frames(clip, 0, 2)
    before = recording_state(part)
    assert recording_state(cut_frames(clip, 0, 2)) == before
    os.utime(tmp_path / "a" / "velodyne" / "000002.bin", ns=(1, 1))
    assert recording_state(part) == before
    changed = [
        part.with_lidar(ego_SE3_lidar=np.eye(4)),
        part.with_lidar(motion_compensated=False),
        part.with_lidar(frame_ids=("8", "9")),
        part.with_lidar(world_SE3_lidar=part.world_SE3_lidar + 1),
        replace(part, cameras={}),
        replace(part, cameras={"front": replace(image, ego_SE3_camera=np.eye(4))}),
        cut_frames(clip, 1, 3),
    ]
    assert len({before, *map(recording_state, changed)}) == 8
    os.utime(tmp_path / "a" / "velodyne" / "000001.bin", ns=(1, 1))
    assert recording_state(part) != before
