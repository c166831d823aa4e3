from __future__ import annotations

import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.readers.nuscenes import tables as tables_of
from cosmos_lidar.errors import DataError
from tests.clips.readers.test_nuscenes import (
    tables,
)


def spoil(table: str, **values: object):
    return lambda rows: rows[table][0].update(values)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda rows: rows.update(ego_pose=None), "missing table.*v1.0-mini/ego_pose.json"),
        (lambda rows: rows["ego_pose"].pop(2), "no such record.*ego_pose.json, key e2"),
        (spoil("ego_pose", rotation=[1, 0, 0]), "no pose.*ego_pose.json, clip scene-0001, key e0"),
        (spoil("ego_pose", translation=["a", 0, 0]), "no pose: could not convert.*clip scene-0001, key e0"),
        (spoil("ego_pose", rotation=[0, 0, 0, 0]), "no pose: not finite.*key e0"),
        (lambda rows: rows["sample"].pop(0), "no such record.*sample.json, key sa"),
        (spoil("sample_data", timestamp="soon"), "'soon' in record 'l3'.*sample_data.json, key timestamp.*type int"),
        (spoil("sample_data", filename=None), "None in record 'l3'.*sample_data.json, key filename.*type str"),
        (spoil("scene", token=["sc"]), "in record.*scene.json, key token.*type str"),
        (spoil("ego_pose", rotation={"w": 1}), "in record 'e0'.*ego_pose.json, key rotation.*type list"),
        (spoil("sample", scene_token=True), "True in record 'sa'.*sample.json, key scene_token"),
        (lambda rows: rows["sample_data"][1].pop("timestamp"), "record without it.*sample_data.json, key timestamp"),
        (
            lambda rows: rows["calibrated_sensor"][1].update(camera_intrinsic=[]),
            "no lens.*calibrated_sensor.json, clip scene-0001, key cf",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_broken_tables(tmp_path, edit, message):
    tables(tmp_path, edit=edit)
    with pytest.raises(DataError, match=message):
        open_clips(tmp_path)


def test_cut_table(tmp_path):
    folder = tables(tmp_path)
    text = (folder / "sample_data.json").read_text()
    (folder / "sample_data.json").write_text(text[: len(text) // 2])
    with pytest.raises(DataError, match="cut off or no JSON list.*sample_data.json"):
        open_clips(tmp_path)


def test_tables_that_are_no_text_or_nested_without_end(tmp_path):
    folder = tables(tmp_path)
    (folder / "scene.json").write_bytes(b'[{"token": "\xff\xfe"}]')
    with pytest.raises(DataError, match="not readable.*scene.json.*a table in UTF-8"):
        open_clips(tmp_path)
    (folder / "scene.json").write_text("[" + '{"token":' * 20_000)
    with pytest.raises(DataError, match="nested too deeply.*scene.json"):
        open_clips(tmp_path)


def test_tables_are_read_in_pieces(tmp_path, monkeypatch):
    folder = tables(tmp_path, sweeps=3)
    whole = [record["token"] for record in tables_of.records(folder, "sample_data", ("token",))]
    assert whole == ["l2", "l1", "l0", "f0", "r0"]
    for size in (1, 2, 7, 100):
        monkeypatch.setattr(tables_of, "_CHUNK", size)
        assert [record["token"] for record in tables_of.records(folder, "sample_data", ("token",))] == whole
