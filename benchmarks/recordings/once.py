"""A ONCE sequence of Pandar40P scans, axes x left, y back, z up."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recordings.street import Street
from tests.clips.readers.test_kitti import scan
from tests.clips.readers.test_once import theirs, write_sequence


def write(root: Path, street: Street) -> Path:
    """Write a sequence whose scans are the street's."""
    folder = write_sequence(root, street.frames)
    tables = street.tables(street.sensor("hesai_pandar40p"))
    for file, table in zip(sorted((folder / "lidar_roof").iterdir()), tables, strict=True):
        scan(file, np.column_stack([theirs(table[:, :3]), table[:, 3]]))
    return root
