"""The arrays of an .npz file, as numpy loads them."""

from __future__ import annotations

import numpy as np

from cosmos_lidar.clips.convert import convert_clips


def test_arrays_have_the_values_of_the_sweep(compensated, tmp_path) -> None:
    convert_clips([compensated], tmp_path, "npz")
    sweep = compensated.lidar.read(1)
    with np.load(tmp_path / "drive_1" / "20.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"points", "intensity", "ring", "time_us", "label", "instance", "return_number"}
        assert np.array_equal(arrays["points"], sweep.points)
        assert arrays["points"].dtype == np.float32
        assert np.array_equal(arrays["return_number"], sweep.returns)
