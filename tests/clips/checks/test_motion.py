from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips import Clip, Sweep, open_clips

CAMERA = np.eye(4)
CAMERA[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]  # x right, y down, z forward
MOUNT = np.eye(4)
MOUNT[:3, :3], MOUNT[:3, 3] = [[0, 1, 0], [-1, 0, 0], [0, 0, 1]], [1.0, 0.0, 1.8]


def with_poses(clip: Clip, change) -> Clip:
    poses = [[change(pose) for pose in ends] for ends in clip.world_SE3_lidar]
    return clip.with_lidar(world_SE3_lidar=np.array(poses))


def in_centimeters(pose: np.ndarray) -> np.ndarray:
    scaled = pose.copy()
    scaled[:3, 3] *= 100
    return scaled


def in_world(clip: Clip) -> Clip:
    def read(index: int) -> Sweep:
        pose = np.linalg.inv(clip.world_SE3_lidar[0, 0]) @ clip.world_SE3_lidar[index, 0]
        return Sweep(points=(clip.points(index) @ pose[:3, :3].T + pose[:3, 3]).astype(np.float32))

    return clip.with_lidar(read=read)


FAULTS = {
    "inverse": lambda clip: with_poses(clip, np.linalg.inv),
    "vehicle": lambda clip: with_poses(clip, lambda pose: pose @ np.linalg.inv(MOUNT)).with_lidar(ego_SE3_lidar=MOUNT),
    "axes z -x -y": lambda clip: with_poses(clip, lambda pose: CAMERA @ pose @ np.linalg.inv(CAMERA)),
    "reversed": lambda clip: clip.with_lidar(world_SE3_lidar=clip.world_SE3_lidar[::-1].copy()),
    "unit centimeters": lambda clip: with_poses(clip, in_centimeters),
    "moved": in_world,
    "frozen": lambda clip: clip.with_lidar(world_SE3_lidar=np.repeat(clip.world_SE3_lidar[:1], len(clip), 0)),
}
KINDS = {"moved": "motion.moved_points", "frozen": "motion.frozen_poses"}


def check(found, clip: Clip) -> list:
    return [one for one in found("motion", clip) if one.kind.startswith("motion")]


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_poses_are_found_and_named(drive, found, fault):
    (one,) = check(found, FAULTS[fault](drive))
    assert (one.kind, one.severity) == (KINDS.get(fault, "motion.wrong_frame"), "error")
    assert one.evidence["icp_fit"] > one.evidence["pose_fit"] + 0.12
    if fault == "frozen":
        assert one.evidence["fits"] == []
        assert one.text.endswith("the poses stand still while the lidar moves")
        return
    assert fault in one.evidence["fits"]
    true = np.linalg.inv(drive.world_SE3_lidar[one.frame, 0]) @ drive.world_SE3_lidar[one.frame + 1, 0]
    expected = np.zeros(3) if fault == "moved" else true[:3, 3]
    assert np.allclose(one.evidence["icp_motion_m"], expected, atol=0.05)
    if fault not in ("axes z -x -y", "moved"):  # a straight drive: other turns of the axes explain as much
        assert one.evidence["fits"][0] == fault


def test_good_poses_and_none_are_quiet(drive, found):
    assert check(found, drive) == []
    assert check(found, drive.with_lidar(world_SE3_lidar=None)) == []
    assert check(found, drive.with_lidar(world_SE3_lidar=drive.world_SE3_lidar[:3])) == []


def test_random_sweeps_prove_nothing(make_clip, found):
    assert check(found, make_clip(frames=4)) == []


def test_nothing_is_read_by_a_fast_run(drive, found):
    def refuse(index: int) -> Sweep:
        raise AssertionError("read")

    assert found("motion", drive.with_lidar(read=refuse), sweeps=0) == []


@pytest.mark.parametrize(("folder", "faults"), [("av2", ["inverse", "reversed"]), ("ddad_dgp", list(FAULTS))])
def test_real_recordings_with_faults_and_without(test_data, found, folder, faults):
    (clip,) = open_clips(test_data / folder)
    assert check(found, clip) == []
    for fault in faults:
        wrong = check(found, FAULTS[fault](clip))
        assert [one.kind for one in wrong if one.lidar == clip.lidar.name] == [KINDS.get(fault, "motion.wrong_frame")]
