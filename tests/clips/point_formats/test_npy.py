from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.point_formats.npy import read
from cosmos_lidar.errors import DataError

POINTS = np.arange(24, dtype=np.float32).reshape(6, 4) + 1


def test_tables(tmp_path):
    np.save(tmp_path / "a.npy", POINTS)
    fields = read(tmp_path / "a.npy")
    assert list(fields.columns) == ["x", "y", "z", "intensity"]
    assert fields.columns["intensity"].tolist() == POINTS[:, 3].tolist()
    np.save(tmp_path / "b.npy", POINTS.reshape(2, 3, 4)[..., :3].astype(np.float64))
    fields = read(tmp_path / "b.npy")
    assert (list(fields.columns), fields.shape, len(fields)) == (["x", "y", "z"], (2, 3), 6)


@pytest.mark.parametrize("name", ["points", "xyz", "something"])
def test_archives_with_a_table(name, tmp_path):
    others = {"ring": np.arange(6), "scale": np.ones(3), "who": np.array("me")}
    np.savez(tmp_path / "a.npz", **{name: POINTS[:, :3]}, **others)
    fields = read(tmp_path / "a.npz")
    assert list(fields.columns) == ["x", "y", "z", "ring"]
    assert fields.columns["ring"].tolist() == list(range(6))


def test_archives_of_single_fields(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", X=POINTS[:, 0], y=POINTS[:, 1], z=POINTS[:, 2], t=np.arange(6))
    fields = read(tmp_path / "a.npz")
    assert list(fields.columns) == ["x", "y", "z", "t"]
    assert fields.columns["x"].tolist() == POINTS[:, 0].tolist()


@pytest.mark.parametrize(
    "array", [np.ones(5), np.ones((5, 2)), np.ones((2, 2, 2, 3)), np.full((5, 3), "a"), np.array([{}])], ids=str
)
def test_other_arrays_are_refused(array, tmp_path):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=r"a\.npy.*Expected: "):
        read(tmp_path / "a.npy")


def test_broken_archives_are_refused(tmp_path):
    np.savez(tmp_path / "two.npz", a=POINTS, b=POINTS)
    with pytest.raises(DataError, match=r"arrays a \(6, 4\), b \(6, 4\) .*two.npz, key points"):
        read(tmp_path / "two.npz")
    np.savez(tmp_path / "text.npz", x=np.array(["a"]), y=np.ones(1), z=np.ones(1))
    with pytest.raises(DataError, match=r"text\.npz, key x"):
        read(tmp_path / "text.npz")
    content = (tmp_path / "two.npz").read_bytes()
    (tmp_path / "two.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"two\.npz"):
        read(tmp_path / "two.npz")
