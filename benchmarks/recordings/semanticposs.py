"""A SemanticPOSS sequence of Pandora scans: points row by row, a tag that names their pixels, and labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recordings.street import Street
from tests.clips.readers.test_kitti import row, scan

ROWS, COLUMNS = 40, 1800


def write(root: Path, street: Street) -> Path:
    """Write a sequence that goes 1 m forward per scan."""
    folder = root / "dataset" / "sequences" / "02"
    sensor = street.sensor("hesai_pandora40")
    for index, (sweep, cloud) in enumerate(zip(street.sweeps(sensor), street.clouds(sensor), strict=True)):
        tag = np.zeros((ROWS, COLUMNS), np.uint8)
        tag[: sensor.rows, : sensor.columns] = sweep.range_m > 0
        scan(folder / "velodyne" / f"{index:06d}.bin", np.column_stack([cloud.points, cloud.intensity]))
        for name, values in (("tag", tag), ("labels", cloud.labels.astype("<u4"))):
            (folder / name).mkdir(exist_ok=True)
            values.tofile(folder / name / f"{index:06d}.{name.removesuffix('s')}")
    poses = [" ".join(map(str, np.column_stack([np.eye(3), [k, 0, 0]]).ravel())) for k in range(street.frames)]
    (folder / "calib.txt").write_text(row("Tr", np.eye(3, 4)))
    (folder / "poses.txt").write_text("\n".join(poses) + "\n")
    return root
