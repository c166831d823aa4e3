from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cosmos_lidar.clips import Sweep


def test_a_frozen_lidar_is_found_while_the_poses_move(drive, found):
    read = drive.lidar.read
    frozen = drive.with_lidar(read=lambda index: read(min(index, 3)))
    (one,) = found("repeats", frozen, sweeps=8)
    assert (one.kind, one.severity, one.lidar) == ("repeats.frozen", "error", "lidar")
    assert one.evidence["sweeps"] == [4, 5, 6, 7]
    places = drive.world_SE3_lidar[:, 0, :3, 3]
    moved = np.linalg.norm(np.diff(places, axis=0), axis=1)[3:]
    assert one.evidence["moved_m"] == float(f"{moved.max():.6g}")
    assert one.frame == 4 + int(np.argmax(moved))
    assert one.evidence["sha256"] == hashlib.sha256(read(3).range_m.tobytes()).hexdigest()
    assert f"by the poses it is {moved.max():.2f} m further on" in one.text


def test_duplicates_without_poses_are_errors_as_well(drive, found):
    read = drive.lidar.read
    (one,) = found("repeats", drive.with_lidar(read=lambda index: read(index // 2 * 2), world_SE3_lidar=None))
    assert (one.kind, one.severity, one.evidence["moved_m"]) == ("repeats.duplicate", "error", None)
    assert found("repeats", drive) == []


def test_frozen_images_are_errors_while_the_camera_moves(drive, found):
    (name, camera), *_ = drive.cameras.items()
    first = camera.read(0)
    frozen = replace(camera, read=lambda index: first)
    (one,) = found("repeats", replace(drive, cameras={name: frozen}))
    assert (one.kind, one.severity, one.camera) == ("repeats.frozen", "error", name)
    standing = replace(frozen, world_SE3_camera=None)  # of video, still scenes may be identical
    (one,) = found("repeats", replace(drive, cameras={name: standing}))
    assert (one.kind, one.severity) == ("repeats.duplicate", "warning")


def test_files_are_compared_all_the_way(make_clip, found, tmp_path):
    @dataclass(frozen=True)
    class Stored:
        files: tuple[Path, ...]

        def __call__(self, index: int) -> Sweep:
            return Sweep(range_m=np.load(self.files[index]))

    clip = make_clip(frames=30, cameras=False)
    files = tuple(tmp_path / f"{index}.npy" for index in range(30))
    for index, file in enumerate(files):
        np.save(file, clip.lidar.read(index if index != 22 else 21).range_m)
    (one,) = found("repeats", clip.with_lidar(read=Stored(files)), sweeps=2)
    assert (one.frame, one.file, one.evidence["sweeps"]) == (22, str(files[22]), [22])
    files[5].unlink()
    assert len(found("repeats", clip.with_lidar(read=Stored(files)), sweeps=2)) == 1


def test_few_points_may_repeat(make_clip, found):
    points = np.random.default_rng(0).uniform(5, 50, (999, 3)).astype(np.float32)
    clip = make_clip(cameras=False)
    assert found("repeats", clip.with_lidar(read=lambda index: Sweep(points=points))) == []
    more = np.concatenate([points, points + 1])
    assert len(found("repeats", clip.with_lidar(read=lambda index: Sweep(points=more)))) == 1
