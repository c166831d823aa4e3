from __future__ import annotations

import numpy as np

from cosmos_lidar.clips.checks.poses import pose_findings
from tests.clips.conftest import straight_drive


def problems(poses, times) -> list[str]:
    return [one.text for one in pose_findings(poses, times)]


def test_poses():
    times, poses = straight_drive(6)
    assert problems(poses, times) == []

    def changed(index: tuple, value: float) -> list[str]:
        copy = poses.copy()
        copy[index] = value
        return problems(copy, times)

    assert changed((2, 0, 1, 3), np.nan) == ["1 poses are NaN or infinite, the first is of sweep 2"]
    assert changed((3, 1, 0, 0), 2.0) == ["1 poses are no rigid motion, the first is of sweep 3"]
    jump = poses.copy()
    jump[4:, :, 1, 3] += 30.0
    found = problems(jump, times)
    assert "1 jumps of the pose, first from sweep 3 to 4: 300 m/s" in found
    assert "the pose at the end of sweep 3 is 30.00 m from that at the start of the next" in found
    inside = poses.copy()
    inside[2, 1, 0, 3] += 20
    assert any("jumps within sweep 2: 210 m/s" in text for text in problems(inside, times))


def test_findings_name_sweep_speed_and_limit(make_clip, found):
    clip = make_clip(frames=6, cameras=False)
    poses = clip.world_SE3_lidar.copy()
    poses[4:, :, 1, 3] += 30.0
    jump, seam = found("poses", clip.with_lidar(world_SE3_lidar=poses))
    assert (jump.kind, jump.frame, jump.evidence["fastest_m_per_s"]) == ("poses.jump", 3, 70.0)
    assert (seam.kind, seam.evidence) == ("poses.seam", {"distance_m": 30.0, "largest_m": 0.5})
    (count,) = found("poses", clip.with_lidar(world_SE3_lidar=poses[:5]))
    assert count.evidence == {"poses": 5, "frames": 6}
    assert found("poses", clip) == []
