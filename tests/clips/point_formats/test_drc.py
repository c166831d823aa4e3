from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.point_formats.drc import read
from cosmos_lidar.errors import DataError

DracoPy = pytest.importorskip("DracoPy")


def test_positions_and_attributes_are_fields(tmp_path):
    points = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    ring = {"ring": np.arange(50, dtype=np.uint8)[:, None]}
    (tmp_path / "a.drc").write_bytes(DracoPy.encode(points, quantization_bits=20, generic_attributes=ring))
    fields = read(tmp_path / "a.drc")
    assert np.allclose(fields.columns["y"], points[fields.columns["ring"], 1], atol=1e-4)


def test_a_mesh_is_refused(test_data):
    with pytest.raises(DataError, match=r"a mesh.*car\.drc, clip c"):
        read(test_data / "draco" / "car.drc", "c")
