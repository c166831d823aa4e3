from __future__ import annotations

import pickle
import sqlite3
import sys
import types
from contextlib import closing

import numpy as np
import pytest

from cosmos_lidar.clips.readers.nuplan.database import read_database
from cosmos_lidar.errors import DataError
from tests.clips.readers.nuplan.logs import FIRST_US, STEP_US, cloud_name, write_database


def test_rows_are_in_the_order_of_time(tmp_path):
    file = write_database(tmp_path / "a.db", 4)
    with closing(sqlite3.connect(file)) as database:
        database.execute("UPDATE lidar_pc SET timestamp = ? - timestamp", (2 * FIRST_US,))
        database.commit()
    records = read_database(file, "c")
    assert [stamp for stamp, _ in records.clouds] == [FIRST_US - STEP_US * k for k in (3, 2, 1, 0)]
    assert [name for _, name in records.clouds] == [cloud_name(k).rpartition("/")[2] for k in (3, 2, 1, 0)]
    assert np.diff(records.track.times_us).tolist() == [10_000] * (len(records.track.times_us) - 1)


def test_the_mounting_of_the_merged_cloud(tmp_path):
    half = float(np.sqrt(0.5))
    records = read_database(write_database(tmp_path / "a.db", 1, [half, 0.0, 0.0, half]), "c")
    assert np.allclose(records.ego_SE3_cloud[:3, :3], [[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert np.allclose(read_database(write_database(tmp_path / "b.db", 1), "c").ego_SE3_cloud, np.eye(4))


def test_lists_of_the_published_tools_are_read_without_them(tmp_path, monkeypatch):
    """Values may be pickled as subclasses of list of a package that need not be installed."""
    package = "nuplan.database.common.data_types"
    module = types.ModuleType(package)
    module.Translation = type("Translation", (list,), {"__module__": package})
    file = write_database(tmp_path / "a.db", 1)
    with monkeypatch.context() as there:
        there.setitem(sys.modules, package, module)
        for name in ("nuplan", "nuplan.database", "nuplan.database.common"):
            there.setitem(sys.modules, name, types.ModuleType(name))
        content = pickle.dumps(module.Translation([1.0, 2.0, 3.0]))
    with closing(sqlite3.connect(file)) as database:
        database.execute("UPDATE camera SET translation = ?", (content,))
        database.commit()
    assert read_database(file, "c").cameras["CAM_F0"].ego_SE3_camera[:3, 3].tolist() == [1.0, 2.0, 3.0]


def test_more_rows_than_the_limit_are_refused_before_they_are_read(tmp_path, monkeypatch):
    file = write_database(tmp_path / "a.db", 2)
    monkeypatch.setattr("cosmos_lidar.bounds.LARGEST_ITEM", 5000)
    with pytest.raises(DataError, match="27 rows would take 13.8 KB.*a.db, clip c, key ego_pose"):
        read_database(file, "c")


@pytest.mark.parametrize("keep", [0, 50, 5000])
def test_truncated_databases(tmp_path, keep):
    file = write_database(tmp_path / "a.db", 2)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(DataError, match="not readable.*a.db, clip c.*Expected: a database of a nuPlan log"):
        read_database(file, "c")
