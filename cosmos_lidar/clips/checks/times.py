"""Times of sweeps and images: ends before starts, stamps that go back or repeat, gaps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cosmos_lidar.clips.checks._recording import Recording
from cosmos_lidar.clips.clip import CameraStream, LidarStream
from cosmos_lidar.clips.finding import Finding

TITLE = "stamps that go back or repeat, gaps, sweeps that end before they start"
READS = False
_GAP = 1.5  # times the usual step


def check_lidar(recording: Recording, stream: LidarStream) -> Iterator[Finding]:
    """Yield what is wrong with the times of the sweeps."""
    count = stream.timestamps_us.shape[0]
    yield from time_findings(stream.timestamps_us)
    if not len(stream):
        yield Finding("times.no_sweep", "error", "no sweep in it")
    if count != len(stream):
        text = f"{count} timestamps for {len(stream)} frames"
        yield Finding("times.count", "error", text, evidence={"timestamps": count, "frames": len(stream)})


def check_camera(recording: Recording, camera: CameraStream) -> Iterator[Finding]:
    """Yield what is wrong with the times of the images."""
    steps = np.diff(np.asarray(camera.timestamps_us, np.int64))
    falling = np.flatnonzero(steps <= 0)
    if len(falling):
        text = f"timestamps do not increase after image {falling[0]}"
        yield Finding("times.not_increasing", "error", text, falling[0], evidence=_falls(steps, falling))


def time_findings(timestamps_us: np.ndarray) -> Iterator[Finding]:
    """Yield findings on starts and ends (N, 2) in microseconds: sweeps without length, falling starts, gaps."""
    start, end = timestamps_us[:, 0].astype(np.int64), timestamps_us[:, 1].astype(np.int64)
    empty = np.flatnonzero(end <= start)
    if len(empty):
        text = f"{len(empty)} sweeps end before they start, the first is sweep {empty[0]}"
        first = {"start_us": start[empty[0]], "end_us": end[empty[0]], "sweeps": len(empty)}
        yield Finding("times.no_length", "error", text, empty[0], evidence=first)
    steps = np.diff(start)
    falling = np.flatnonzero(steps <= 0)
    if len(falling):
        text = f"timestamps do not increase {len(falling)} times, first from sweep {falling[0]} to {falling[0] + 1}"
        yield Finding("times.not_increasing", "error", text, falling[0], evidence=_falls(steps, falling))
    usual = float(np.median(steps)) if len(steps) else 0.0
    gaps = np.flatnonzero(steps > _GAP * usual) if usual > 0 else np.empty(0, int)
    if len(gaps):
        longest = gaps[np.argmax(steps[gaps])]
        text = f"{len(gaps)} gaps in time, the longest {steps[longest] / 1e6:.3f} s after sweep {longest}"
        evidence = {"gaps": len(gaps), "longest_us": steps[longest], "usual_step_us": usual, "after": gaps[:20]}
        text += f" (usual step {usual / 1e6:.3f} s)"
        yield Finding("times.gap", "error", text, longest, evidence=evidence)


def _falls(steps: np.ndarray, falling: np.ndarray) -> dict:
    repeated = int(np.count_nonzero(steps == 0))
    back = int(np.count_nonzero(steps < 0))
    largest = max(0, -int(steps.min()))
    return {"repeated": repeated, "back": back, "largest_step_back_us": largest, "after": falling[:20]}
