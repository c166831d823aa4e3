from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.readers.nuscenes import tables as tables_of
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import decompensate_motion

FIRST_US = 1_532_402_927_647_951
STEP_US = 50_000
LIDAR_MOUNT = {
    "translation": [0.9, 0.0, 1.8],
    "rotation": [np.sqrt(0.5), 0.0, 0.0, -np.sqrt(0.5)],
}  # x right, y forward
CAMERA_MOUNT = {"translation": [1.7, 0.0, 1.5], "rotation": [0.5, -0.5, 0.5, -0.5]}


def tables(root: Path, sweeps: int = 4, real: Path | None = None, edit=None, step_m: float = 1.0) -> Path:
    """Write tables of one scene that drives ``step_m`` along x per sweep; each has one point 10 m ahead at its end."""
    for k in range(sweeps):
        file = root / lidar_file(k)
        file.parent.mkdir(parents=True, exist_ok=True)
        if real is not None:
            file.write_bytes(real.read_bytes())
        else:  # in the axes of the dataset: 2 m to the right, 10 m ahead
            np.array([[2.0, 10.0, 0.5, 128.0, 7.0]], "<f4").tofile(file)
    image = root / "samples/CAM_FRONT/log__CAM_FRONT__1.jpg"
    image.parent.mkdir(parents=True)
    from PIL import Image

    Image.new("RGB", (160, 90)).save(image)
    rows = {
        "scene": [{"token": "sc", "name": "scene-0001"}, {"token": "empty", "name": "scene-0002"}],
        "sample": [{"token": "sa", "scene_token": "sc"}, {"token": "sb", "scene_token": "sc"}],
        "sensor": [
            {"token": "sl", "channel": "LIDAR_TOP"},
            {"token": "sf", "channel": "CAM_FRONT"},
            {"token": "sr", "channel": "RADAR"},
        ],
        "calibrated_sensor": [
            {"token": "cl", "sensor_token": "sl", "camera_intrinsic": [], **LIDAR_MOUNT},
            {
                "token": "cf",
                "sensor_token": "sf",
                "camera_intrinsic": [[126, 0, 80], [0, 126, 45], [0, 0, 1]],
                **CAMERA_MOUNT,
            },
            {"token": "cr", "sensor_token": "sr", "camera_intrinsic": [], **LIDAR_MOUNT},
        ],
        "ego_pose": [
            {
                "token": f"e{k}",
                "timestamp": FIRST_US + k * STEP_US,
                "rotation": [1, 0, 0, 0],
                "translation": [step_m * k, 0, 0],
            }
            for k in range(sweeps)
        ],
        "sample_data": [
            datum(f"l{k}", "sa", f"e{k}", "cl", FIRST_US + k * STEP_US, lidar_file(k)) for k in reversed(range(sweeps))
        ]
        + [
            datum("f0", "sa", "e0", "cf", FIRST_US, "samples/CAM_FRONT/log__CAM_FRONT__1.jpg")
            | {"width": 160, "height": 90},
            datum("r0", "sa", "e0", "cr", FIRST_US, "samples/RADAR/x.pcd"),
        ],
    }
    if edit:
        edit(rows)
    folder = root / "v1.0-mini"
    folder.mkdir()
    for name, records in rows.items():
        if records is not None:
            (folder / f"{name}.json").write_text(json.dumps(records, indent=0))
    return folder


def lidar_file(k: int) -> str:
    kind = "samples" if k == 0 else "sweeps"
    return f"{kind}/LIDAR_TOP/n015-x+0800__LIDAR_TOP__{FIRST_US + k * STEP_US}.pcd.bin"


def datum(token: str, sample: str, ego: str, mount: str, stamp: int, file: str) -> dict:
    keys = ("token", "sample_token", "ego_pose_token", "calibrated_sensor_token", "timestamp", "filename")
    return dict(zip(keys, (token, sample, ego, mount, stamp, file), strict=True))


def write_sample(root: Path) -> Path:
    """A scene of four sweeps, the first of them with both kinds of labels."""
    folder = tables(root)
    add_labels(root, folder, "lidarseg", "l0", np.array([24], np.uint8))
    add_labels(root, folder, "panoptic", "l0", np.array([24_003], np.uint16))
    return root


def add_labels(root: Path, folder: Path, kind: str, token: str, labels: np.ndarray) -> None:
    """Write a label file of a sweep and the table that names it."""
    file = f"{kind}/v1.0-mini/{token}_{kind}" + (".bin" if kind == "lidarseg" else ".npz")
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    if kind == "lidarseg":
        labels.tofile(root / file)
    else:
        np.savez(root / file, data=labels)
    (folder / f"{kind}.json").write_text(json.dumps([{"token": "x", "sample_data_token": token, "filename": file}]))


def test_scene(tmp_path):
    tables(tmp_path)
    (clip,) = open_clips(tmp_path)
    assert (clip.clip_id, clip.format, len(clip)) == ("scene-0001", "nuscenes", 4)
    assert clip.motion_compensated
    assert clip.sensor.name == "nuscenes_hdl32e"
    assert clip.timestamps_us[:, 1].tolist() == [FIRST_US + k * STEP_US for k in range(4)]  # the stamp is the end
    assert clip.timestamps_us[:, 0].tolist() == [FIRST_US + (k - 1) * STEP_US for k in range(4)]
    assert np.allclose(clip.world_SE3_lidar[:, 1, :3, 3], [[k + 0.9, 0, 1.8] for k in range(4)])
    assert np.allclose(clip.world_SE3_lidar[:, 0, :3, 3], [[k - 0.1, 0, 1.8] for k in range(4)], atol=1e-6)
    assert np.allclose(clip.world_SE3_lidar[:, :, :3, :3], np.eye(3), atol=1e-9)  # x of the lidar is forward now


def test_points_are_turned_and_moved_to_the_start(tmp_path):
    tables(tmp_path)
    (clip,) = open_clips(tmp_path)
    sweep = clip.read_sweep(2)
    assert np.allclose(sweep.points, [[11.0, -2.0, 0.5]], atol=1e-5)  # 10 m ahead of the end, 11 m ahead of the start
    in_world = clip.world_SE3_lidar[2, 0] @ [*sweep.points[0], 1.0]
    assert np.allclose(in_world[:3], [2 + 0.9 + 10.0, -2.0, 2.3], atol=1e-5)
    assert sweep.intensity.tolist() == [128.0]


def test_camera(tmp_path):
    tables(tmp_path)
    (clip,) = open_clips(tmp_path)
    camera = clip.cameras["CAM_FRONT"]
    assert list(clip.cameras) == ["CAM_FRONT"]
    assert camera.read(0).shape == (90, 160, 3)
    # A point in the world 20 m ahead of the camera, 2 m to the left, 1 m up.
    uv, depth = camera.model.project((np.linalg.inv(camera.world_SE3_camera[0]) @ [21.7, 2.0, 2.5, 1.0])[None, :3])
    assert np.allclose(uv, [[80 - 126 * 2 / 20, 45 - 126 * 1 / 20]])
    assert np.allclose(depth, 20.0)
    assert np.allclose(camera.lidar_SE3_camera[:3, 3], [0.8, 0.0, -0.3])


def test_sweeps_that_are_not_on_disk(tmp_path):
    tables(tmp_path)
    for k in (1, 3):
        (tmp_path / lidar_file(k)).unlink()
    (clip,) = open_clips(tmp_path / "v1.0-mini")
    assert clip.frame_ids == (str(FIRST_US), str(FIRST_US + 2 * STEP_US))
    assert clip.notes == ("2 of 4 sweeps of the tables are not on disk",)
    assert clip.timestamps_us[1, 0] == FIRST_US + STEP_US
    for k in (0, 2):
        (tmp_path / lidar_file(k)).unlink()
    with pytest.raises(DataError, match="none of the sweeps in the tables is on disk.*sweeps/LIDAR_TOP"):
        open_clips(tmp_path)


def test_segmentation_labels(tmp_path):
    folder = tables(tmp_path)
    add_labels(tmp_path, folder, "lidarseg", "l0", np.array([24], np.uint8))
    (clip,) = open_clips(tmp_path)
    assert clip.read_sweep(0).labels.tolist() == [24]
    assert clip.read_sweep(0).instance is None
    assert clip.read_sweep(1).labels is None


def test_panoptic_labels(tmp_path):
    folder = tables(tmp_path)
    add_labels(tmp_path, folder, "panoptic", "l0", np.array([17_042], np.uint16))
    (clip,) = open_clips(tmp_path)
    sweep = clip.read_sweep(0)
    assert (sweep.labels.tolist(), sweep.instance.tolist()) == ([17], [42])
    assert clip.read_sweep(1).instance is None
    add_labels(tmp_path, folder, "lidarseg", "l0", np.array([24], np.uint8))
    both = open_clips(tmp_path)[0].read_sweep(0)
    assert (both.labels.tolist(), both.instance.tolist()) == ([24], [42])  # the classes of lidarseg are kept
    add_labels(tmp_path, folder, "panoptic", "l0", np.array([1, 2], np.uint16))
    with pytest.raises(DataError, match=r"uint16 \(2,\).*l0_panoptic.npz, clip scene-0001, key data"):
        open_clips(tmp_path)[0].read_sweep(0)
    (tmp_path / "panoptic/v1.0-mini/l0_panoptic.npz").write_bytes(b"none")
    with pytest.raises(DataError, match="not readable.*l0_panoptic.npz"):
        open_clips(tmp_path)[0].read_sweep(0)


def test_labels_that_are_not_on_disk_are_noted(tmp_path):
    folder = tables(tmp_path)
    add_labels(tmp_path, folder, "lidarseg", "l0", np.array([24], np.uint8))
    (tmp_path / "lidarseg/v1.0-mini/l0_lidarseg.bin").unlink()
    (clip,) = open_clips(tmp_path)
    assert clip.notes == ("1 of 1 label files of the tables are not on disk",)
    assert clip.read_sweep(0).labels is None


def test_rings_are_read_where_the_column_holds_them(tmp_path):
    tables(tmp_path)
    assert open_clips(tmp_path)[0].read_sweep(1).ring.tolist() == [7]
    np.array([[2.0, 10.0, 0.5, 128.0, 0.05]], "<f4").tofile(tmp_path / lidar_file(1))  # times, as others write
    assert open_clips(tmp_path)[0].read_sweep(1).ring is None


def test_places_on_the_vehicle(tmp_path):
    tables(tmp_path)
    (clip,) = open_clips(tmp_path)
    assert np.allclose(clip.lidar.ego_SE3_lidar[:3, 3], LIDAR_MOUNT["translation"])
    assert np.allclose(clip.lidar.ego_SE3_lidar[:3, :3], np.eye(3), atol=1e-9)  # turned along with the points
    camera = clip.cameras["CAM_FRONT"]
    assert np.allclose(camera.ego_SE3_camera[:3, 3], CAMERA_MOUNT["translation"])


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


def test_tables_are_read_in_pieces(tmp_path, monkeypatch):
    folder = tables(tmp_path, sweeps=3)
    whole = [record["token"] for record in tables_of._records(folder, "sample_data", ("token",))]
    assert whole == ["l2", "l1", "l0", "f0", "r0"]
    for size in (1, 2, 7, 100):
        monkeypatch.setattr(tables_of, "_CHUNK", size)
        assert [record["token"] for record in tables_of._records(folder, "sample_data", ("token",))] == whole


def test_bare_folder_takes_times_from_names(tmp_path):
    folder = tmp_path / "LIDAR_TOP"
    folder.mkdir()
    for stamp in (FIRST_US + STEP_US, FIRST_US, FIRST_US + 3 * STEP_US, FIRST_US + 10_000_000):
        np.zeros((3, 5), "<f4").tofile(folder / f"n015-x+0800__LIDAR_TOP__{stamp}.pcd.bin")
    first, second = open_clips(folder)
    assert (first.clip_id, second.clip_id) == ("n015-x+0800_000", "n015-x+0800_001")
    assert (first.timestamps_us - FIRST_US).tolist() == [[-STEP_US, 0], [0, STEP_US], [2 * STEP_US, 3 * STEP_US]]
    assert open_clips(tmp_path)[0].clip_id == first.clip_id
    (folder / "points.pcd.bin").write_bytes(b"")
    with pytest.raises(DataError, match="no stamp in the file name.*points.pcd.bin"):
        open_clips(folder)


def test_two_sets_of_tables(tmp_path):
    tables(tmp_path).rename(tmp_path / "v1.0-trainval")
    tables(tmp_path / "new").rename(tmp_path / "v1.0-mini")
    with pytest.raises(DataError, match="more than one set of tables: v1.0-mini, v1.0-trainval"):
        open_clips(tmp_path)


def real_file(test_data: Path) -> Path:
    return next((test_data / "nuscenes" / "samples" / "LIDAR_TOP").glob("*.pcd.bin"))


def test_real_sweep_in_tables_and_bare(test_data, tmp_path):
    (bare,) = open_clips(test_data / "nuscenes")
    assert bare.clip_id == "n015-2018-07-24-11-22-45+0800"
    assert bare.frame_ids == ("1532402927647951",)
    points = bare.points(0)
    assert points.shape == (34688, 3)
    tables(tmp_path, sweeps=2, real=real_file(test_data))
    (clip,) = open_clips(tmp_path)
    assert np.allclose(clip.points(1), points + [1.0, 0, 0], atol=1e-4)
    assert clip.read_sweep(0).intensity.max() == 255


def test_real_sweep_shows_axes_and_reference(test_data):
    """The first firing looks left, and was moved more than the last one: the reference is the end of the sweep."""
    (clip,) = open_clips(test_data / "nuscenes")
    points = clip.points(0)
    azimuth = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    near = np.linalg.norm(points[:32], axis=1) < 2.0
    assert np.all(np.abs(azimuth[:32][~near] - 90) < 10)
    assert np.ptp(azimuth[:24]) > 5.0  # the nearer the point, the farther it was turned by the motion
    last = azimuth[-32:][np.linalg.norm(points[-32:], axis=1) > 3.0]
    assert np.all(np.abs(last - 90) < 0.5)


def test_real_sweep_as_the_sensor_saw_it(test_data, tmp_path):
    """With the speed it was recorded at (9.1 m/s), the 32 beams of every firing look into one direction again."""
    tables(tmp_path, sweeps=2, real=real_file(test_data), step_m=0.455)
    (clip,) = open_clips(tmp_path)
    sweep = clip.read_sweep(1)
    start, end = clip.world_SE3_lidar[1]
    seen = decompensate_motion(sweep.points, clip.sensor, np.linalg.inv(end) @ start)
    as_stored = open_clips(test_data / "nuscenes")[0].points(0)

    def spread_deg(points: np.ndarray) -> float:
        azimuth = np.exp(1j * np.arctan2(points[:, 1], points[:, 0])).reshape(-1, 32)
        near = np.linalg.norm(points, axis=1).reshape(-1, 32) < 2.5
        middle = np.where(near, 0, azimuth).sum(1, keepdims=True)
        return float(np.median(np.abs(np.degrees(np.angle(azimuth / middle)))[~near]))

    assert spread_deg(as_stored) > 0.3
    assert spread_deg(seen) < 0.08  # a column is 0.33 degrees wide
    filled = np.count_nonzero(clip.range_map(1)) / clip.sensor.rows / clip.sensor.columns
    assert filled > 0.83  # 0.77 without


def turning(count: int = 2000) -> np.ndarray:
    """Points x y z intensity ring."""
    rng = np.random.default_rng(0)
    turn, rise, far = rng.uniform(-3, 3, count), rng.uniform(-0.5, 0.1, count), rng.uniform(4, 60, count)
    ring = rng.integers(0, 32, count)
    return np.stack([far * np.cos(turn), far * np.sin(turn), far * np.sin(rise), ring * 8.0, ring], 1).astype("<f4")


def test_points_without_return_hidden_files_and_other_columns(tmp_path):
    folder = tmp_path / "LIDAR_TOP"
    folder.mkdir()
    points = turning()
    for k in range(3):
        chosen = points.copy()
        if k == 1:
            chosen[::4, k] = np.nan
        name = f"log__LIDAR_TOP__{FIRST_US + k * STEP_US}.pcd.bin"
        (chosen[:, :4] if k == 2 else chosen).tofile(folder / name)
        (folder / f"._{name}").write_bytes(b"Mac OS X")
    (clip,) = open_clips(tmp_path)
    assert len(clip) == 3
    kept = np.arange(len(points)) % 4 > 0
    sweep = clip.read_sweep(1)
    assert np.array_equal(sweep.points, clip.read_sweep(0).points[kept])
    assert np.array_equal(sweep.ring, points[kept, 4])
    with pytest.raises(DataError, match="looks like 4 float32 per point, not 5.*--columns 4"):
        clip.read_sweep(2)
    (stated,) = open_clips(tmp_path, columns=4)
    assert (stated.read_sweep(2).ring, len(stated.points(2))) == (None, len(points))
