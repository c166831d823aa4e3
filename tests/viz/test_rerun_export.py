from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.clips import Sweep
from cosmos_lidar.errors import DataError
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


def test_all_lidars_are_in_the_file(tmp_path):
    chunks = pytest.importorskip("rerun.chunk", reason="rerun-sdk is not installed: extra viz")
    from cosmos_lidar.viz.rerun_export import write_rrd

    clip = drive()
    (_, other) = clip.lidars.values()
    file = write_rrd(tmp_path / "a.rrd", clip, frames=[1])
    found: dict[str, dict[str, list]] = {}
    for chunk in chunks.RrdReader(str(file)).stream().to_chunks():
        batch = chunk.to_record_batch()
        values = {name: batch.column(name).to_pylist()[0] for name in batch.schema.names}
        found.setdefault(chunk.entity_path, {}).update(values)
    for name in (
        "/world/lidar/points",
        "/world/lidars/bumper/points",
        "/world/front/lidars/bumper",
        "/world/lidar/labels",
    ):
        assert name in found
    assert {"/range_map", "/range_maps/bumper"} <= set(found)
    assert "/world/lidars/bumper/labels" not in found  # it has none
    positions = np.array(found["/world/lidars/bumper/points"]["Points3D:positions"])
    number = int(np.abs(other.timestamps_us.mean(1) - clip.timestamps_us[1].mean()).argmin())
    assert np.abs(positions - other.points(number)).max() < 1e-5
    (place,) = found["/world/lidars/bumper"]["Transform3D:translation"]
    assert np.allclose(place, other.world_SE3_lidar[number, 0, :3, 3], atol=1e-5)
    (main,) = found["/world/lidar"]["Transform3D:translation"]
    assert np.allclose(main, clip.world_SE3_lidar[1, 0, :3, 3], atol=1e-5)


def test_mountings_place_lidars_of_a_clip_without_poses(tmp_path):
    chunks = pytest.importorskip("rerun.chunk", reason="rerun-sdk is not installed: extra viz")
    from cosmos_lidar.viz.rerun_export import write_rrd

    clip = drive()
    mounts = {"lidar": np.eye(4), "bumper": np.eye(4)}
    mounts["lidar"][:3, 3], mounts["bumper"][:3, 3] = [1.0, 0.0, 2.0], [3.5, 0.0, 0.5]
    still = {
        name: replace(lidar, world_SE3_lidar=None, ego_SE3_lidar=mounts[name]) for name, lidar in clip.lidars.items()
    }
    file = write_rrd(tmp_path / "a.rrd", replace(clip, lidars=still), frames=[0])
    placed = {
        chunk.entity_path: chunk.to_record_batch().column("Transform3D:translation").to_pylist()[0][0]
        for chunk in chunks.RrdReader(str(file)).stream().to_chunks()
        if "Transform3D:translation" in chunk.to_record_batch().schema.names
    }
    assert placed["/world/lidars/bumper"] == [2.5, 0.0, -1.5]
    assert "/world/lidar" not in placed


def test_what_cannot_be_read_is_left_out_with_a_warning(tmp_path, caplog):
    pytest.importorskip("rerun", reason="rerun-sdk is not installed: extra viz")
    from cosmos_lidar.viz.rerun_export import write_rrd

    def broken(index: int) -> Sweep:
        raise DataError("cut off", file="a.bin", key=str(index))

    clip = drive()
    main, other = clip.lidars
    half = replace(clip, lidars={main: clip.lidars[main], other: replace(clip.lidars[other], read=broken)})
    content = write_rrd(tmp_path / "half.rrd", half, frames=[0]).read_bytes()
    assert b"/world/lidar/points" in content
    assert b"/world/lidars/bumper" not in content
    assert "cut off" in caplog.text
    nothing = replace(half, lidars={main: replace(clip.lidars[main], read=broken)}, cameras={})
    with pytest.raises(DataError, match="cut off"):
        write_rrd(tmp_path / "nothing.rrd", nothing, frames=[0])
    assert not (tmp_path / "nothing.rrd").exists()


def test_cameras_alone(tmp_path):
    pytest.importorskip("rerun", reason="rerun-sdk is not installed: extra viz")
    from cosmos_lidar.viz.rerun_export import write_rrd

    content = write_rrd(tmp_path / "a.rrd", replace(recording(), lidars={})).read_bytes()
    assert b"/world/front" in content
    assert b"/world/lidar" not in content


def test_rerun_missing_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rerun", None)
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.viz.rerun_export import write_rrd

    with pytest.raises(UserError, match=r"rerun is needed here.*cosmos_lidar\[viz\]"):
        write_rrd(tmp_path / "a.rrd", recording())
