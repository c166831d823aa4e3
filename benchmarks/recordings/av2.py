"""An Argoverse 2 log: sweeps of two lidars in the axes of the vehicle, in feather files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.feather

from cosmos_lidar.clips import Clip
from recordings.street import Read, Street
from tests.clips.readers.test_av2 import FIRST_NS, MOUNTS, STEP_NS, write_log, write_sweep


def write(root: Path, street: Street) -> Path:
    """Write a log whose sweeps hold those of two lidars, float16, as published."""
    log = write_log(root, street.frames)
    both = [street.clouds(street.sensor(f"av2_{name}_vlp32c")) for name in ("up", "down")]
    places = [MOUNTS[f"{name}_lidar"][1] for name in ("up", "down")]
    for index, clouds in enumerate(zip(*both, strict=True)):
        points = np.concatenate([one.points + place for one, place in zip(clouds, places, strict=True)])
        laser = np.concatenate([clouds[0].ring, clouds[1].ring + 32])
        offset_ns = np.concatenate([one.time_us for one in clouds]) * 1000
        file = log / f"sensors/lidar/{FIRST_NS + index * STEP_NS}.feather"
        write_sweep(file, points, laser, offset_ns, np.float16)
    return root


def reads(clip: Clip) -> list[Read]:
    """Return both lidars, each beside pyarrow on the whole file."""
    files = clip.lidar.read.files

    def decode(index: int) -> object:
        return pyarrow.feather.read_table(files[index], use_threads=False, memory_map=False)

    return [Read(name, lidar.read, len(lidar), decode, "Arrow") for name, lidar in clip.lidars.items()]
