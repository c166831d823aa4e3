import pytest

from tests.viz.test_recording import recording


def test_rerun_file_holds_every_entity(tmp_path):
    pytest.importorskip("rerun", reason="rerun-sdk is not installed: extra viz")
    from cosmos_lidar.viz.rerun_export import write_rrd

    content = write_rrd(tmp_path / "new" / "a.rrd", recording(), frames=[0, 2]).read_bytes()
    assert content[:4] == b"RRF2"
    for entity in (b"/world/lidar/points", b"/world/front", b"/range_map", b"Pinhole:image_from_camera"):
        assert entity in content
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.rrd"]


def test_rerun_missing_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rerun", None)
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.viz.rerun_export import write_rrd

    with pytest.raises(UserError, match=r"rerun is needed here.*cosmos_lidar\[viz\]"):
        write_rrd(tmp_path / "a.rrd", recording())
