"""Files of sweeps and images: missing, empty, of an impossible size; numbers of frames that are left out."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from cosmos_lidar.clips.checks._recording import Recording
from cosmos_lidar.clips.clip import CameraStream, LidarStream
from cosmos_lidar.clips.files import HeaderlessFiles, files_of
from cosmos_lidar.clips.finding import Finding

TITLE = "files that are missing, empty or of an impossible size, frame numbers that are left out"
READS = False
_NAMED = 5
_NUMBER = re.compile(r"[0-9]{1,10}")
_REGULAR = 0.8  # share of equal steps between frame numbers that makes the others gaps


def check_lidar(recording: Recording, stream: LidarStream) -> Iterator[Finding]:
    """Yield one finding per sweep whose file is missing or broken by its size, at most 6, and gaps in frame names."""
    known = stream.read.problems() if isinstance(stream.read, HeaderlessFiles) else _problems(stream)
    read = recording.chosen(stream) if "sweeps" in recording.checks else []  # that check reports them
    wrong = {index: problem for index, problem in known.items() if index not in read}
    yield from _named(wrong, "sweep")
    yield from _numbers(stream.frame_ids)


def check_camera(recording: Recording, camera: CameraStream) -> Iterator[Finding]:
    """Yield one finding per image whose file is missing or empty, at most 6."""
    read = [0] if "images" in recording.checks and recording.sweeps else []  # that check reports it
    yield from _named({index: why for index, why in _problems(camera).items() if index not in read}, "image")


def _problems(stream: LidarStream | CameraStream) -> dict[int, str]:
    """Return frame -> what is wrong with its file, of streams with one file per frame."""
    found = {}
    for index, file in enumerate(files_of(stream.read)):
        try:
            size = file.stat().st_size
            if not size:
                found[index] = f"the file is empty: 0 bytes ({file.name})"
        except OSError as error:
            found[index] = f"the file is missing or cannot be read: {error.strerror} ({file.name})"
    return found


def _named(wrong: dict[int, str], what: str) -> Iterator[Finding]:
    for index, problem in list(wrong.items())[:_NAMED]:
        yield Finding("files.broken", "error", f"{what} {index}: {problem}", index, evidence={"of": len(wrong)})
    rest = list(wrong)[_NAMED:]
    if rest:
        text = f"and {len(rest)} more {what}s that cannot be read"
        yield Finding("files.broken", "error", text, rest[0], evidence={"of": len(wrong), f"{what}s": rest[:100]})


def _numbers(frame_ids: tuple[str, ...]) -> Iterator[Finding]:
    """Yield a finding where names of frames count up in equal steps and some numbers are left out."""
    if len(frame_ids) < 5 or not all(_NUMBER.fullmatch(frame) for frame in frame_ids):
        return
    steps = np.diff(np.array([int(frame) for frame in frame_ids], np.int64))
    usual = int(np.median(steps))
    gaps = np.flatnonzero((steps > usual) & (np.mod(steps, max(usual, 1)) == 0))
    if usual < 1 or not len(gaps) or np.mean(steps == usual) < _REGULAR:
        return
    first, left_out = int(gaps[0]), int((steps[gaps] // usual - 1).sum())
    text = f"{left_out} frame numbers are left out, the first between {frame_ids[first]} and {frame_ids[first + 1]}"
    evidence = {"left_out": left_out, "usual_step": usual, "after": gaps[:20]}
    yield Finding("files.left_out", "warning", text, first, evidence=evidence)
