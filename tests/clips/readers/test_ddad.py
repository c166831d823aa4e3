"""Scenes in the DGP layout: a made one with known numbers, the real one of DDAD, and broken ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.errors import DataError
from cosmos_lidar.viz.images import write_png

STAMPS = (15616458250027900, 15616458251018358)
QUARTER = {"qw": 0.5**0.5, "qx": 0.0, "qy": 0.0, "qz": 0.5**0.5}  # a quarter turn to the left
# camera axes x right, y down, z forward, for a camera that looks along x of the vehicle
FORWARD = {"qw": 0.5, "qx": -0.5, "qy": 0.5, "qz": -0.5}
POINTS = np.array([[10.0, 0.0, 1.5, 0.25], [10.0, 2.0, 1.5, 0.5], [-7.0, 0.0, 0.0, 1.0]])


def pose(x: float, rotation: dict[str, float]) -> dict[str, dict[str, float]]:
    return {"rotation": rotation, "translation": {"x": x, "y": 5.0, "z": 0.0}}


def datum(key: str, name: str, kind: str, stamp: int, ending: str, at: dict, **more: object) -> dict:
    folder = "point_cloud" if kind == "point_cloud" else "rgb"
    record = {"filename": f"{folder}/{name}/{stamp}.{ending}", "pose": at, **more}
    return {"key": key, "id": {"name": name}, "datum": {kind: record}}


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_sample(tmp_path)


def write_sample(root: Path) -> Path:
    """A scene of two samples with one camera; returns its folder."""
    folder = root / "data" / "scene_07"
    data, samples = [], []
    for number, stamp in enumerate(STAMPS):
        at = pose(100.0 + number, QUARTER)
        data.append(datum(f"l{number}", "LIDAR", "point_cloud", stamp, "npz", at))
        size = {"width": 64, "height": 48}
        data.append(datum(f"c{number}", "CAMERA_01", "image", stamp - 91370, "jpg", pose(100.0, FORWARD), **size))
        samples.append({"calibration_key": "cal", "datum_keys": [f"l{number}", f"c{number}"]})
        (folder / "point_cloud/LIDAR").mkdir(parents=True, exist_ok=True)
        np.savez(folder / f"point_cloud/LIDAR/{stamp}.npz", data=POINTS)
        write_png(folder / f"rgb/CAMERA_01/{stamp - 91370}.jpg", np.full((48, 64, 3), 10 * number, np.uint8))
    zero = {"x": 0.0, "y": 0.0, "z": 0.0}
    document = {
        "names": ["LIDAR", "CAMERA_01"],
        "intrinsics": [dict.fromkeys(("fx", "fy", "cx", "cy", "skew"), 0.0),
                       {"fx": 50.0, "fy": 50.0, "cx": 32.0, "cy": 24.0, "skew": 0.0}],
        "extrinsics": [{"rotation": {"qw": 1.0, "qx": 0.0, "qy": 0.0, "qz": 0.0}, "translation": zero},
                       {"rotation": FORWARD, "translation": {"x": 0.0, "y": 0.0, "z": 1.5}}],
    }  # fmt: skip
    (folder / "calibration").mkdir()
    (folder / "calibration" / "cal.json").write_text(json.dumps(document))
    (folder / "scene_abc.json").write_text(json.dumps({"data": data, "samples": samples}))
    return folder


def change(path: Path, change: object) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_points_poses_stamps_and_pictures(scene: Path):
    for path in (scene, scene.parent, scene / "scene_abc.json"):
        (clip,) = open_clips(path)
        assert (clip.clip_id, clip.format, len(clip)) == ("scene_07", "ddad", 2)
    sweep = clip.read_sweep(1)
    assert np.allclose(sweep.points, POINTS[:, :3] - [0, 0, 2])
    assert sweep.intensity.tolist() == [0.25, 0.5, 1.0]
    assert clip.timestamps_us[:, 0].tolist() == [1561645825002790, 1561645825101835]
    assert np.allclose(clip.world_SE3_lidar[1, 0, :3, 3], [101.0, 5.0, 2.0])
    assert np.allclose(clip.world_SE3_lidar[1, 0, :3, 0], [0.0, 1.0, 0.0])  # the vehicle looks along y of the world
    camera = clip.cameras["CAMERA_01"]
    assert camera.timestamps_us[0] == 1561645824993653
    assert camera.read(1).shape == (48, 64, 3)
    assert np.allclose(camera.lidar_SE3_camera[:3, 3], [0.0, 0.0, -0.5])
    seen = (sweep.points - camera.lidar_SE3_camera[:3, 3]) @ camera.lidar_SE3_camera[:3, :3]
    uv, depth = camera.model.project(seen)
    assert depth[:2].tolist() == pytest.approx([10.0, 10.0])
    assert uv[0].tolist() == pytest.approx([32.0, 24.0])
    assert uv[1].tolist() == pytest.approx([32.0 - 50.0 * 2 / 10, 24.0])  # left of the middle
    assert not check_clip(clip).problems


def test_scenes_of_a_list_that_are_not_there_are_noted(scene: Path):
    names = ["scene_01/scene_x.json", "scene_07/scene_abc.json"]
    path = scene.parent / "scene_dataset_v1.0.json"
    path.write_text(json.dumps({"scene_splits": {"0": {"filenames": names}}}))
    for given in (scene.parent, path):
        (clip,) = open_clips(given)
        (note,) = clip.notes
        assert note == "1 of 2 scenes of scene_dataset_v1.0.json are not on disk: scene_01/scene_x.json"
    path.write_text(json.dumps({"scene_splits": {"0": {"filenames": names[:1]}}}))
    with pytest.raises(DataError, match=r"none of its scenes is on disk.*scene_dataset_v1.0.json.*scene_x.json"):
        open_clips(path)


def test_broken_scenes_are_named(scene: Path):
    path = scene / "scene_abc.json"
    good = path.read_text()

    def cloud(document: dict) -> dict:
        return document["data"][0]["datum"]["point_cloud"]

    breaks = {
        r"datum missing.*scene_abc.json.*scene_07.*key gone": lambda d: d["samples"][0]["datum_keys"].append("gone"),
        r"no pose.*scene_abc.json.*clip scene_07": lambda d: cloud(d)["pose"].pop("rotation"),
        r"no calibration of it.*key CAMERA_77": lambda d: d["data"][1]["id"].update(name="CAMERA_77"),
        r"no stamp in the name.*key cloud": lambda d: cloud(d).update(filename="cloud.npz"),
        r"not a scene: KeyError 'samples'": lambda d: d.pop("samples"),
    }
    for message, wreck in breaks.items():
        change(path, wreck)
        with pytest.raises(DataError, match=message):
            open_clips(scene)
        path.write_text(good)
    path.write_text("{")
    with pytest.raises(DataError, match=r"not readable.*scene_abc.json"):
        open_clips(scene)
    path.write_text(good)
    change(scene / "calibration" / "cal.json", lambda d: d["names"].pop())
    with pytest.raises(DataError, match=r"no calibration.*cal.json.*clip scene_07"):
        open_clips(scene)


def test_missing_and_broken_files_are_named(scene: Path):
    cloud = scene / f"point_cloud/LIDAR/{STAMPS[1]}.npz"
    cloud.write_bytes(b"nothing")
    (clip,) = open_clips(scene)
    with pytest.raises(DataError, match=rf"not a cloud.*{STAMPS[1]}.npz.*clip scene_07"):
        clip.read_sweep(1)
    np.savez(cloud, data=np.zeros((3, 2)))
    with pytest.raises(DataError, match=r"an array of shape \(3, 2\).*data, \(N, 4\)"):
        clip.read_sweep(1)
    cloud.unlink()
    with pytest.raises(DataError, match=rf"file missing.*{STAMPS[1]}.npz.*clip scene_07"):
        open_clips(scene)


def test_several_lidars_and_their_columns(scene: Path):
    file = scene / "scene_abc.json"
    document = json.loads(file.read_text())
    columns = np.array([[5.0, 1.0, 0.5, 0.25, 3.0, 9.0, 2.0]])
    for number, stamp in enumerate(STAMPS):
        side = datum(f"s{number}", "SIDE", "point_cloud", stamp, "npz", pose(3.0, QUARTER))
        side["datum"]["point_cloud"]["point_format"] = ["X", "Y", "Z", "INTENSITY", "RING", "CLASS_ID", "INSTANCE_ID"]
        document["data"].append(side)
        document["samples"][number]["datum_keys"].append(f"s{number}")
        (scene / "point_cloud/SIDE").mkdir(exist_ok=True)
        np.savez(scene / f"point_cloud/SIDE/{stamp}.npz", data=columns)
    file.write_text(json.dumps(document))
    calibration = json.loads((scene / "calibration/cal.json").read_text())
    calibration["names"].append("SIDE")
    calibration["intrinsics"].append(calibration["intrinsics"][0])
    calibration["extrinsics"].append({"rotation": QUARTER, "translation": {"x": 3.0, "y": 1.0, "z": 0.5}})
    (scene / "calibration/cal.json").write_text(json.dumps(calibration))
    (clip,) = open_clips(scene)
    assert list(clip.lidars) == ["LIDAR", "SIDE"]
    side = clip.lidars["SIDE"]
    sweep = side.read(1)
    assert sweep.points.tolist() == [[5.0, 1.0, 0.5]]  # of a lidar of its own: not moved down
    assert (sweep.ring.tolist(), sweep.labels.tolist(), sweep.instance.tolist()) == ([3], [9], [2])
    assert np.allclose(side.ego_SE3_lidar[:3, 3], [3.0, 1.0, 0.5])
    np.savez(scene / f"point_cloud/SIDE/{STAMPS[1]}.npz", data=columns[:, :5])
    with pytest.raises(DataError, match=r"an array of shape \(1, 5\).*SIDE.*\(N, 7\) x y z intensity ring class_id"):
        side.read(1)


def test_the_real_scene(test_data: Path):
    (clip,) = open_clips(test_data / "ddad_dgp")
    assert (clip.clip_id, len(clip), len(clip.cameras)) == ("scene_02", 3, 6)
    assert "scene_01" in clip.notes[0]
    moved = np.linalg.norm(np.diff(clip.world_SE3_lidar[:, 0, :3, 3], axis=0), axis=1)
    assert moved.tolist() == pytest.approx([1.257, 1.277], abs=5e-3)  # 2 m higher up, pitching
    inside = 0
    points = clip.read_sweep(0).points
    world = points @ clip.world_SE3_lidar[0, 0, :3, :3].T + clip.world_SE3_lidar[0, 0, :3, 3]
    for camera in clip.cameras.values():
        assert camera.read(0).shape == (1216, 1936, 3)
        assert int(clip.timestamps_us[0, 0] - camera.timestamps_us[0]) == pytest.approx(9137, abs=1)
        pose = camera.world_SE3_camera[0]
        uv, depth = camera.model.project((world - pose[:3, 3]) @ pose[:3, :3])
        seen = (depth > 0) & (uv > 0).all(1) & (uv < [camera.model.width, camera.model.height]).all(1)
        assert seen.sum() > 3000
        inside += int(seen.sum())
        # the mounting and the pose of the image agree but for 9 ms of driving
        mounted = clip.world_SE3_lidar[0, 0] @ camera.lidar_SE3_camera
        assert np.linalg.norm(mounted[:3, 3] - pose[:3, 3]) < 0.2
    assert inside > 0.8 * len(points)
    assert (clip.range_map(0) > 0).mean() > 0.3


def test_points_without_return_are_left_out(scene: Path):
    (clip,) = open_clips(scene)
    before = clip.read_sweep(0)
    odd = np.concatenate([[[np.nan, 1, 1, 0.1], [0, 0, 0, 0.2]], POINTS, [[1, np.inf, 1, 0.3]]])
    np.savez(scene / f"point_cloud/LIDAR/{STAMPS[0]}.npz", data=odd)
    sweep = clip.read_sweep(0)
    assert np.array_equal(sweep.points, before.points)
    assert np.array_equal(sweep.intensity, before.intensity)
    assert sweep.without_return == 3
    np.savez(scene / f"point_cloud/LIDAR/{STAMPS[0]}.npz", data=np.zeros((0, 4)))
    with pytest.raises(DataError, match="no point in it"):
        clip.read_sweep(0)


def test_impossible_coordinates_are_refused(scene: Path):
    (clip,) = open_clips(scene)
    values = np.load(clip.lidar.read.files[0])["data"]
    values[2, 1] = 3e8
    np.savez(clip.lidar.read.files[0], data=values)
    with pytest.raises(DataError, match="impossible coordinates.*point 2.*meters"):
        clip.lidar.read(0)


def test_hidden_files_are_no_scenes(scene: Path):
    (scene / "._scene_abc.json").write_bytes(b"Mac OS X")
    (scene.parent / "._scene_dataset_v1.0.json").write_bytes(b"Mac OS X")
    assert len(open_clips(scene)) == len(open_clips(scene.parent)) == 1


def test_texts_of_time_that_contradict_the_file_names_are_a_finding(scene: Path):
    assert open_clips(scene)[0].findings == ()  # no texts
    file = scene / "scene_abc.json"
    change(file, lambda d: d["data"][0]["id"].update(timestamp="2019-06-27T14:30:25.002790Z"))
    assert open_clips(scene)[0].findings == ()
    change(file, lambda d: d["data"][0]["id"].update(timestamp="2464-11-12T01:04:10.027900Z"))
    (found,) = check_clip(open_clips(scene)[0]).findings[-1:]
    assert (found.kind, found.severity, found.file) == ("clock.contradiction", "warning", str(file))
    assert (found.clip, found.frame_id) == ("scene_07", str(STAMPS[0]))
    assert found.evidence["timestamp_us"] == STAMPS[0]
    assert found.evidence["ratio"] == pytest.approx(10.0)
    for text in ("yesterday", 7, None):
        change(file, lambda d, text=text: d["data"][0]["id"].update(timestamp=text))
        assert open_clips(scene)[0].findings == ()


def test_the_year_2464_of_the_real_recording_is_found(test_data):
    (clip,) = open_clips(test_data / "ddad_dgp")
    (found,) = clip.findings
    assert "timestamp 2464-11-12T01:04:10.027900Z" in found.text
    assert "its file name in 2019" in found.text
