from __future__ import annotations

from dataclasses import replace

import numpy as np

from cosmos_lidar.clips.checks.times import time_findings


def problems(times) -> list[str]:
    return [one.text for one in time_findings(times)]


def test_times():
    times = np.stack([np.arange(8), np.arange(8) + 1], 1) * 100_000
    assert problems(times) == []
    assert problems(times[:1]) == []
    gap = times.copy()
    gap[5:] += 350_000
    assert problems(gap) == ["1 gaps in time, the longest 0.450 s after sweep 4 (usual step 0.100 s)"]
    back = times.copy()
    back[3] -= 150_000
    assert any("timestamps do not increase 1 times, first from sweep 2 to 3" in text for text in problems(back))
    short = times.copy()
    short[2, 1] = short[2, 0]
    assert problems(short) == ["1 sweeps end before they start, the first is sweep 2"]


def test_evidence_tells_repeated_stamps_from_those_that_go_back(make_clip, found):
    clip = make_clip(frames=8, cameras=False)
    times = clip.timestamps_us.copy()
    times[3], times[6] = times[2], times[6] - 250_000
    one = next(one for one in found("times", clip.with_lidar(timestamps_us=times)) if one.frame == 2)
    assert (one.kind, one.severity, one.lidar, one.frame_id) == ("times.not_increasing", "error", "lidar", "6")
    assert one.evidence == {"repeated": 1, "back": 1, "largest_step_back_us": 150_000, "after": [2, 5]}


def test_other_counts_and_images_whose_times_go_back(make_clip, found):
    clip = make_clip(frames=4)
    (one,) = found("times", clip.with_lidar(timestamps_us=clip.timestamps_us[:3]))
    assert (one.text, one.evidence) == ("3 timestamps for 4 frames", {"timestamps": 3, "frames": 4})
    (name, camera), *_ = clip.cameras.items()
    stamps = camera.timestamps_us.copy()
    stamps[5] = stamps[4]
    clip.cameras[name] = replace(camera, timestamps_us=stamps)
    (one,) = found("times", clip)
    assert (one.camera, one.frame, one.evidence["repeated"]) == (name, 4, 1)
