import numpy as np
import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.viz import read_ply, write_ply


@pytest.mark.parametrize("colors", [None, (1.0, 0.0, 0.5)])
def test_ply_round_trip(tmp_path, colors):
    points = np.random.default_rng(0).normal(size=(57, 4)).astype(np.float32)
    write_ply(tmp_path / "new" / "a.ply", points, colors)
    back = read_ply(tmp_path / "new" / "a.ply")
    assert np.array_equal(back.points, points[:, :3])
    assert back.colors is None if colors is None else np.all(back.colors == (255, 0, 128))


def test_broken_ply_files_are_named(tmp_path):
    write_ply(tmp_path / "a.ply", np.zeros((10, 3)))
    (tmp_path / "cut.ply").write_bytes((tmp_path / "a.ply").read_bytes()[:-5])
    with pytest.raises(DataError, match="115 bytes for 10 points.*cut.ply"):
        read_ply(tmp_path / "cut.ply")
    (tmp_path / "b.ply").write_text("ply\nformat ascii 1.0\n")
    with pytest.raises(DataError, match="not a binary PLY file.*b.ply"):
        read_ply(tmp_path / "b.ply")
