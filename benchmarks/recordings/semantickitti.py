"""A SemanticKITTI sequence: KITTI scans with a class and an instance for every point."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recordings import kitti
from recordings.street import Street, numpy_reads


def write(root: Path, street: Street) -> Path:
    """Write ``sequences/03`` with ``labels``."""
    kitti.write(root, street)
    labels = root / "sequences" / "03" / "labels"
    labels.mkdir()
    for index, cloud in enumerate(street.clouds(street.sensor("kitti_hdl64e"))):
        entries = cloud.labels.astype("<u4") | cloud.instance.astype("<u4") << np.uint32(16)
        entries.astype("<u4").tofile(labels / f"{index:06d}.label")
    return root


reads = numpy_reads
