from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cosmos_lidar.clips import Clip, open_clips
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.sensors.sensor import load_sensor
from cosmos_lidar.synth import pinhole_rig, synthesize_drive


def turned(clip: Clip, yaw_deg: float, pitch_deg: float = 0.0) -> Clip:
    """The clip with calibrations that are turned to the right and up: the true lens looks to the left and down."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("yx", (yaw_deg, pitch_deg), degrees=True).as_matrix()

    def wrong(pose: np.ndarray | None) -> np.ndarray | None:
        return None if pose is None else pose @ turn

    cameras = {
        name: replace(
            one, world_SE3_camera=wrong(one.world_SE3_camera), lidar_SE3_camera=wrong(one.lidar_SE3_camera)
        )
        for name, one in clip.cameras.items()
    }  # fmt: skip
    return replace(clip, cameras=cameras)


def aligned(clip: Clip) -> list:
    return [one for one in check_clip(clip, checks=["alignment"]).findings if one.kind.startswith("alignment")]


@pytest.fixture(scope="module")
def street() -> Clip:
    return synthesize_drive(3, load_sensor("uniform64"), 12, cameras=pinhole_rig(("front", "left"), width=640))


@pytest.mark.slow
def test_a_synthetic_drive_with_turned_cameras(street):
    assert aligned(street) == []
    findings = aligned(turned(street, 1.0))
    assert [(one.kind, one.severity, one.camera) for one in findings] == [
        ("alignment.yaw", "error", name) for name in street.cameras
    ]
    for one in findings:
        assert one.evidence["best_yaw_deg"] == pytest.approx(-1.0, abs=0.2)
        assert one.evidence["score_best"] > one.evidence["score_calibrated"]
        assert "degrees left (yaw)" in one.text
        assert one.evidence["images"] >= 2
        assert one.frame is not None
    assert {one.kind for one in aligned(turned(street, 0.0, 1.5))} == {"alignment.pitch"}


def test_cameras_without_lens_place_or_images_of_the_time_are_left_out(street):
    wrong = turned(street, 1.0)

    def changed(**fields: object) -> Clip:
        return replace(wrong, cameras={name: replace(one, **fields) for name, one in wrong.cameras.items()})

    assert aligned(changed(model=None)) == []
    assert aligned(changed(world_SE3_camera=None, lidar_SE3_camera=None)) == []
    times = next(iter(wrong.cameras.values())).timestamps_us
    assert aligned(changed(timestamps_us=times + 2_000_000)) == []
    assert aligned(replace(wrong, lidars={})) == []


@pytest.mark.parametrize(("folder", "least"), [("kitti_object", 2), ("nuscenes", 4), ("ddad_dgp", 4)])
def test_real_calibrations_are_quiet_and_one_degree_of_yaw_is_found(test_data, folder, least):
    clips = open_clips(test_data / folder)
    assert [one for clip in clips for one in aligned(clip)] == []
    for yaw in (1.0, -1.0):
        findings = [one for clip in clips for one in aligned(turned(clip, yaw))]
        assert len(findings) >= least
        for one in findings:
            assert one.kind == "alignment.yaw"
            assert one.evidence["best_yaw_deg"] == pytest.approx(-yaw, abs=0.26)
