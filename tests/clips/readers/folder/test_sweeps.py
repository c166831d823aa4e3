from __future__ import annotations

import pickle

import numpy as np

from cosmos_lidar.clips.readers.folder.sweeps import CloudFiles
from tests.clips.point_formats.encoders import table, write_pcd


def test_sweeps_are_read_when_asked_for(tmp_path):
    files = tuple(tmp_path / f"{index}.pcd" for index in range(2))
    read = CloudFiles("c", files, np.array([[0, 100_000], [100_000, 200_000]]))
    for index, file in enumerate(files):
        write_pcd(file, table(seed=index))
    sweep = pickle.loads(pickle.dumps(read))(1)
    assert np.array_equal(sweep.points[:, 2], table(seed=1)["z"])
    assert np.array_equal(sweep.time_us, table()["t"])
