"""A KITTI odometry sequence of HDL-64E scans."""

from __future__ import annotations

from pathlib import Path

from recordings.street import Street, numpy_reads
from tests.clips.readers.test_kitti import odometry, scan


def write(root: Path, street: Street) -> Path:
    """Write ``sequences/03``, the scans of which are the street's."""
    folder = odometry(root, street.frames)
    for index, table in enumerate(street.tables(street.sensor("kitti_hdl64e"))):
        scan(folder / "velodyne" / f"{index:06d}.bin", table)
    return root


reads = numpy_reads
