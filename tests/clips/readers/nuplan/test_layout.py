from __future__ import annotations

import pytest

from cosmos_lidar.clips.readers.nuplan.layout import find_logs, has_logs
from tests.clips.readers.nuplan.logs import LOG


@pytest.mark.parametrize(
    ("sensors", "records"),
    [
        ("nuplan-v1.1/sensor_blobs", "nuplan-v1.1/splits/trainval"),
        ("sensor_blobs", "mini"),
        ("sensor_blobs/test", "splits/test"),
        ("sensor_blobs/test", "navsim_logs/test"),
        ("", ""),
    ],
)
def test_records_beside_sensors(tmp_path, sensors, records):
    suffix = ".pkl" if "navsim" in records else ".db"
    folder, file = tmp_path / sensors / LOG, tmp_path / records / f"{LOG}{suffix}"
    (folder / "MergedPointCloud").mkdir(parents=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    file.with_stem(f"{LOG[:-1]}9").touch()  # of a log without sensor data
    for path in (tmp_path, folder, folder / "MergedPointCloud"):
        assert has_logs(path)
        (log,) = find_logs(path)
        assert (log.folder, log.records, log.vehicle) == (folder, file, "35")


def test_a_database_is_preferred_to_frames(tmp_path):
    (tmp_path / "sensor_blobs" / "mini" / LOG / "MergedPointCloud").mkdir(parents=True)
    for name in ("splits/mini", "navsim_logs/mini"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "navsim_logs" / "mini" / f"{LOG}.pkl").touch()
    (tmp_path / "splits" / "mini" / f"{LOG}.db").touch()
    assert find_logs(tmp_path)[0].records.suffix == ".db"


def test_other_folders_and_databases_are_none_of_it(tmp_path):
    (tmp_path / "drive" / "CAM_F0").mkdir(parents=True)
    (tmp_path / "drive" / "notes.db").touch()
    assert not has_logs(tmp_path)
    assert not has_logs(tmp_path / "drive")
    assert not has_logs(tmp_path / "drive" / "notes.db")
    assert find_logs(tmp_path) == []
