"""A KITTI-360 drive of HDL-64E scans."""

from __future__ import annotations

from pathlib import Path

from recordings.street import Street
from tests.clips.readers.test_kitti import scan
from tests.clips.readers.test_kitti360 import DRIVE, write_drive


def write(root: Path, street: Street) -> Path:
    """Write a drive with poses of all scans."""
    write_drive(root, street.frames, tuple(range(street.frames)), images=False)
    folder = root / "data_3d_raw" / DRIVE / "velodyne_points" / "data"
    for index, table in enumerate(street.tables(street.sensor("kitti_hdl64e"))):
        scan(folder / f"{index:010d}.bin", table)
    return root
