"""Sweeps and images that repeat the one before, byte for byte or value for value: duplicated or frozen.

Two measurements are never identical: even of a scene that stands still, noise differs. Streams of one file per frame
are compared all the way, as files that differ are told apart by their sizes or first bytes; of others, neighbors of
the sweeps that are read. Sweeps of less than 1000 returns are left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.checks._recording import Recording
from cosmos_lidar.clips.clip import CameraStream, LidarStream
from cosmos_lidar.clips.files import files_of
from cosmos_lidar.clips.finding import Finding, Severity
from cosmos_lidar.clips.sweep import Sweep

TITLE = "sweeps and images that are identical to the one before: duplicated, or frozen while the vehicle moves"
READS = True
_MOVED_M = 0.05
_LEAST_RETURNS = 1000
_BLOCK = 1 << 16
_MOST_FILES = 20_000


def check_lidar(recording: Recording, stream: LidarStream) -> Iterator[Finding]:
    """Yield a finding where sweeps repeat the one before."""
    same = _same_files(files_of(stream.read))
    if same and not _is_measured(recording.sweep(stream, min(same))):
        return
    for before, after in recording.neighbors(stream):
        first, second = recording.sweep(stream, before), recording.sweep(stream, after)
        if first is not None and second is not None and _is_measured(first) and _equal(first, second):
            same[after] = _digest(first)
    poses = None if stream.world_SE3_lidar is None else np.asarray(stream.world_SE3_lidar)[:, 0]
    yield from _report(same, "sweep", poses, "error")


def check_camera(recording: Recording, camera: CameraStream) -> Iterator[Finding]:
    """Yield a finding where images repeat the one before."""
    same = _same_files(files_of(camera.read))
    last = len(camera) - 1
    for before in np.unique(np.linspace(0, max(last - 1, 0), recording.sweeps).round().astype(int)) if last > 0 else ():
        first, second = recording.image(camera, int(before)), recording.image(camera, int(before) + 1)
        if first is not None and second is not None and np.array_equal(first, second):
            same[int(before) + 1] = hashlib.sha256(first.tobytes()).hexdigest()
    yield from _report(same, "image", camera.world_SE3_camera, "warning")


def _report(same: dict[int, str], what: str, poses: np.ndarray | None, standing: Severity) -> Iterator[Finding]:
    """Yield one finding on the frames of ``same``: an error where the vehicle moves, else of severity ``standing``."""
    if not same:
        return
    frames = sorted(same)
    moved = np.zeros(len(frames))
    if poses is not None and frames[-1] < len(poses):
        places = np.asarray(poses, np.float64)[:, :3, 3]
        moved = np.nan_to_num(np.linalg.norm(places[frames] - places[np.array(frames) - 1], axis=1))
    moving = bool((moved > _MOVED_M).any())
    at = int(np.argmax(moved)) if moving else 0
    text = f"{len(frames)} {what}s are identical to the one before, such as {what} {frames[at]}"
    if moving:
        text += f": frozen, by the poses it is {moved[at]:.2f} m further on"
    evidence = {
        "count": len(frames), f"{what}s": frames[:50], "sha256": same[frames[at]],
        "moved_m": moved[at] if poses is not None else None,
    }  # fmt: skip
    kind = "repeats.frozen" if moving else "repeats.duplicate"
    yield Finding(kind, "error" if moving else standing, text, frames[at], evidence=evidence)


def _is_measured(sweep: Sweep | None) -> bool:
    """Return whether a sweep has so many returns that chance, or an author by hand, does not repeat them."""
    if sweep is None:
        return False
    values = sweep.range_m if sweep.points is None else sweep.points[:, 0]
    return values is not None and int(np.count_nonzero(values)) >= _LEAST_RETURNS


def _equal(first: Sweep, second: Sweep) -> bool:
    for one, other in ((first.range_m, second.range_m), (first.points, second.points)):
        if one is not None or other is not None:
            return one is not None and other is not None and np.array_equal(one, other)
    return False


def _digest(sweep: Sweep) -> str:
    values = sweep.range_m if sweep.range_m is not None else sweep.points
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def _same_files(files: tuple[Path, ...]) -> dict[int, str]:
    """Return number of a file -> SHA-256 of its content, of files that have the content of the one before."""
    found, size_before = {}, -1
    for index, file in enumerate(files[:_MOST_FILES]):
        size = file.stat().st_size if file.is_file() else -1
        if size == size_before and size > 0:
            digest = _digest_if_same(files[index - 1], file)
            if digest is not None:
                found[index] = digest
        size_before = size
    return found


def _digest_if_same(first: Path, second: Path) -> str | None:
    """Return the SHA-256 of two files of one content, else None: after the first block that differs."""
    digest = hashlib.sha256()
    try:
        with first.open("rb") as one, second.open("rb") as other:
            while block := one.read(_BLOCK):
                if block != other.read(_BLOCK):
                    return None
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()
