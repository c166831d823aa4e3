import pytest

from tests.viz.test_recording import recording
from tests.viz.test_recording_in_browser import drive


def test_rerun_file_holds_every_entity(tmp_path):
    pytest.importorskip("rerun", reason="rerun-sdk is not installed: extra viz")
    from cosmos_lidar.viz.rerun_export import write_rrd

    content = write_rrd(tmp_path / "new" / "a.rrd", recording(), frames=[0, 2]).read_bytes()
    assert content[:4] == b"RRF2"
    for entity in (b"/world/lidar/points", b"/world/front", b"/range_map", b"Pinhole:image_from_camera"):
        assert entity in content
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.rrd"]


def test_labels_path_and_lidar_on_the_camera_are_in_the_file(tmp_path):
    pytest.importorskip("rerun", reason="rerun-sdk is not installed: extra viz")
    from cosmos_lidar.viz.rerun_export import write_rrd

    plain = write_rrd(tmp_path / "plain.rrd", recording().with_lidar(world_SE3_lidar=None), frames=[0]).read_bytes()
    for entity in (b"/world/path", b"/world/lidar/labels", b"/world/front/lidar"):
        assert entity not in plain
    full = write_rrd(tmp_path / "full.rrd", drive(), frames=[0, 1]).read_bytes()
    for entity in (b"/world/path", b"/world/lidar/labels", b"/world/front/lidar", b"AnnotationContext"):
        assert entity in full


def test_rerun_missing_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rerun", None)
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.viz.rerun_export import write_rrd

    with pytest.raises(UserError, match=r"rerun is needed here.*cosmos_lidar\[viz\]"):
        write_rrd(tmp_path / "a.rrd", recording())
