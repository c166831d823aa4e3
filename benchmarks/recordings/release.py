"""A clip of the published release: 128 x 3600 range maps with all values, a camera of 1920 x 1080."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np

from cosmos_lidar.clips import Clip
from cosmos_lidar.clips.writers.release import write_release
from cosmos_lidar.synth import synthesize_drive
from recordings.street import Read, Street


def write(root: Path, street: Street) -> Path:
    """Write a clip as our writer does."""
    sensor = street.sensor("pandar128")
    sweeps = street.sweeps(sensor)
    clip = synthesize_drive(5, sensor, street.frames)
    write_release(root, replace(clip.with_lidar(read=sweeps.__getitem__), clip_id="street"))
    return root


def reads(clip: Clip) -> list[Read]:
    """Return the sweeps, beside numpy's unpacking of their members."""
    lidar = clip.lidar
    read = lidar.read
    tars = [tar for tar in (read.tar, read.labels) if tar is not None]
    members = [
        [tar.read(name) for tar in tars for name in tar.members if name.startswith(f"{stem}.")] for stem in read.stems
    ]

    def unpack(index: int) -> list[np.ndarray]:
        return [np.load(io.BytesIO(content))["arr_0"] for content in members[index]]

    return [Read(lidar.name, lidar.read, len(lidar), unpack, "zlib")]
