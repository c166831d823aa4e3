from __future__ import annotations

import errno
import io
import json
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import CameraStream, Sweep, open_clips
from cosmos_lidar.clips.writers.release import write_release
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.sensors.sensor import load_sensor, uniform_sensor
from cosmos_lidar.synth import bumper_lidar, pinhole_rig, synthesize_drive
from tests.clips.test_object_tables import objects, write_table


def write_sample(root: Path) -> Path:
    """A drive of two lidars and a camera, with labels, as our writer writes it."""
    bumper = bumper_lidar(uniform_sensor(8, 96, 10, -20, name="bumper8"))
    sensor = uniform_sensor(16, 128, name="roof16")
    write_release(root, synthesize_drive(3, sensor, 3, cameras=pinhole_rig(("front",), 96, 54), lidars=[bumper]))
    return root


def test_published_files_are_read(published):
    (clip,) = open_clips(published(in_tar=4))
    assert clip.clip_id == "d0ad_1_2"  # starts with letters of ".lidar_row.npz", which must not be eaten
    assert clip.frame_ids == ("000000", "000003", "000006")
    assert clip.sensor.shape == (128, 3600)
    assert clip.notes == ("the last frame of the tar is not in the metadata and is left out",)
    assert clip.world_SE3_lidar.shape == (3, 2, 4, 4)
    range_m = clip.range_map(2)
    assert range_m.dtype == np.float32
    assert np.count_nonzero(range_m) == 500


@pytest.mark.parametrize("ids", [[0, 3, 6], ["0", "3", "6"], [b"000000", b"000003", b"000006"]])
def test_frame_ids_are_integers_or_strings(published, ids):
    (clip,) = open_clips(published(ids=ids))
    assert [int(frame) for frame in clip.frame_ids] == [0, 3, 6]
    assert clip.notes == ()
    assert clip.lidar.image_numbers is None  # no camera


def test_one_tar_is_a_path_too(published):
    root = published()
    published(clip="other")
    assert [clip.clip_id for clip in open_clips(root / "lidar" / "other.tar")] == ["other"]


def test_a_tar_without_any_metadata_folder(published, tmp_path):
    lone = published() / "lidar" / "d0ad_1_2.tar"
    (tmp_path / "metadata" / "d0ad_1_2.npz").unlink()
    with pytest.raises(DataError, match="missing metadata.*metadata/d0ad_1_2.npz"):
        open_clips(lone)
    (tmp_path / "metadata").rmdir()
    assert open_clips(lone)[0].clip_id == "d0ad_1_2"
    (clip,) = open_clips(lone.rename(tmp_path / "moved.tar"))
    assert (clip.clip_id, clip.frame_ids) == ("moved", ("000000", "000003", "000006"))
    assert clip.world_SE3_lidar is None
    assert clip.notes == ("no metadata: no poses, and times by the usual rate",)
    assert np.count_nonzero(clip.range_map(2)) == 500


def test_the_lidar_folder_is_a_path_too(published):
    assert open_clips(published() / "lidar")[0].clip_id == "d0ad_1_2"


def test_split_list_chooses_and_tolerates_suffixes(published):
    root = published(clip="b")
    published(clip="a")
    published(clip="c")
    (root / "lidar_split.lst").write_text("c.tar\n\n a.mp4 \n")
    assert [clip.clip_id for clip in open_clips(root)] == ["c", "a"]
    (root / "lidar_split.lst").write_text("\n")
    with pytest.raises(DataError, match="split list is empty.*lidar_split.lst"):
        open_clips(root)
    (root / "lidar_split.lst").write_bytes(b"\xff\xfe\n")
    with pytest.raises(DataError, match="cannot be read.*lidar_split.lst"):
        open_clips(root)
    (root / "lidar_split.lst").write_text("absent\n")
    with pytest.raises(DataError, match="no such lidar file.*absent.tar, clip absent"):
        open_clips(root)


def test_calibration_of_the_unit_replaces_the_beam_angles(published):
    root = published()
    usual = load_sensor("pandar128").row_elevations_rad
    folder = root / "lidar_sensor_config"
    folder.mkdir()
    config = {"row_elevations_rad": (usual + 0.001).tolist(), "row_azimuth_offsets_rad": [0.01] * 128}
    (folder / "d0ad_1_2.json").write_text(json.dumps(config))
    sensor = open_clips(root)[0].sensor
    assert np.allclose(sensor.row_elevations_rad, usual + 0.001)
    assert np.allclose(sensor.row_azimuth_offsets_rad, 0.01)
    (folder / "d0ad_1_2.json").write_text(json.dumps({"row_elevations_rad": [0.1] * 64}))
    with pytest.raises(
        DataError, match=r"shape \(64,\).*d0ad_1_2.json, clip d0ad_1_2, key row_elevations_rad.*128 finite"
    ):
        open_clips(root)
    (folder / "d0ad_1_2.json").write_text("{")
    with pytest.raises(DataError, match="not a sensor configuration.*d0ad_1_2.json"):
        open_clips(root)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"pose_list": None}, "missing array.*metadata/d0ad_1_2.npz, clip d0ad_1_2, key pose_list"),
        ({"pose_list": np.zeros((3, 4, 4))}, r"shape \(3, 4, 4\).*key pose_list.*\(N, 2, 4, 4\)"),
        ({"pose_list": np.zeros((3, 2, 4, 4), int)}, "dtype int64.*key pose_list.*floating"),
        ({"timestamps_list": np.zeros((3, 2))}, "dtype float64.*key timestamps_list.*integer"),
        ({"timestamps_list": np.zeros((2, 2), int)}, "lengths .*'timestamps_list': 2.*clip d0ad_1_2"),
        (
            {"frame_indices": np.array([0, 3, 9])},
            "row 2 of the metadata is frame 9, the tar has d0ad_1_2.000006.*key frame_indices",
        ),
        (
            {"frame_indices": np.array(["a", None, 1], object)},
            "an array of Python objects.*metadata/d0ad_1_2.npz, clip d0ad_1_2, key frame_indices",
        ),
    ],
)
def test_wrong_metadata(published, metadata, message):
    root = published(metadata=metadata)
    with pytest.raises(DataError, match=message):
        open_clips(root)


def test_missing_and_broken_metadata(published):
    root = published()
    file = root / "metadata" / "d0ad_1_2.npz"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(DataError, match="not a readable npz.*metadata/d0ad_1_2.npz, clip d0ad_1_2"):
        open_clips(root)
    file.unlink()
    with pytest.raises(DataError, match="missing metadata.*metadata/d0ad_1_2.npz, clip d0ad_1_2.*pose_list"):
        open_clips(root)


@pytest.mark.parametrize("in_tar", [2, 5])
def test_frame_counts_that_do_not_fit(published, in_tar):
    with pytest.raises(
        DataError, match=f"3 frames in the metadata and {in_tar} in the lidar tar.*d0ad_1_2.tar, clip d0ad_1_2"
    ):
        open_clips(published(in_tar=in_tar))


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("lidar_row", np.full(500, 128, np.uint8), "values from 128 to 128.*0 to 127"),
        ("lidar_row", np.zeros(500, np.float32), "dtype float32.*integers"),
        ("lidar_row", np.zeros(499, np.uint8), "499 rows, 500 columns, 500 values"),
        ("lidar_col", np.full(500, 3600, np.uint16), "values from 3600 to 3600.*0 to 3599"),
        ("lidar_range", np.full(500, np.nan, np.float16), "500 of 500 ranges NaN"),
        ("lidar_range", np.full(500, np.inf, np.float16), "500 of 500 ranges NaN, infinite"),
        ("lidar_range", np.full(500, -1, np.float16), "ranges NaN, infinite or negative"),
        ("lidar_range", np.full(500, 7, np.int16), "dtype int16.*floating point"),
        ("lidar_range", np.ones((5, 100), np.float16), r"shape \(5, 100\).*one row"),
        ("lidar_range", None, "member missing"),
        ("lidar_range", b"no npz", "not a readable array"),
        ("lidar_range", np.array([{}], object), "not a readable array: an array of Python objects"),
    ],
)
def test_wrong_members(published, part, value, message):
    root = published(change={(1, part): value})
    (clip,) = open_clips(root)
    clip.read_sweep(0)
    with pytest.raises(DataError, match=message) as caught:
        clip.read_sweep(1)
    assert str(caught.value.file).endswith("lidar/d0ad_1_2.tar")
    assert caught.value.clip == "d0ad_1_2"
    assert caught.value.key.startswith("d0ad_1_2.000003.lidar_")


def packed_zeros(count: int) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, np.zeros(count, np.float32))
    return stream.getvalue()


def test_the_sensor_says_how_much_a_member_may_unpack_to(published, monkeypatch):
    root = published(change={(1, "lidar_range"): packed_zeros(5_000_000)})
    (clip,) = open_clips(root)
    clip.read_sweep(0)
    with pytest.raises(DataError, match=r"would take 20\.0 MB.*000003\.lidar_range\.npz.*at most 14\.7 MB"):
        clip.read_sweep(1)
    monkeypatch.setenv("COSMOS_LIDAR_LARGEST_ITEM", "30MB")
    with pytest.raises(DataError, match="500 rows, 500 columns, 5000000 values"):
        clip.read_sweep(1)


@pytest.mark.parametrize("type", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_the_tar_are_named_and_left_out(published, type, caplog):
    root = published(change={(1, "lidar_range"): None})
    with tarfile.open(root / "lidar" / "d0ad_1_2.tar", "a") as tar:
        member = tarfile.TarInfo("d0ad_1_2.000003.lidar_range.npz")
        member.type, member.linkname = type, "/etc/passwd"
        tar.addfile(member)
    (clip,) = open_clips(root)
    assert "left out, no plain files: 'd0ad_1_2.000003.lidar_range.npz'" in caplog.text
    with pytest.raises(DataError, match=r"member missing.*000003\.lidar_range\.npz"):
        clip.read_sweep(1)
    assert clip.read_sweep(2).range_m.any()


def test_truncated_tars(published):
    root = published()
    tar = root / "lidar" / "d0ad_1_2.tar"
    whole = tar.read_bytes()
    for size in (len(whole) // 2, len(whole) // 3, 700, 100):
        tar.write_bytes(whole[:size])
        with pytest.raises(DataError, match="d0ad_1_2.tar, clip d0ad_1_2"):
            open_clips(root)
    end = (
        len(whole.rstrip(b"\0")) // 512 * 512 + 512
    )  # a cut right behind the last member leaves a tar of whole members
    tar.write_bytes(whole[:end])
    with pytest.raises(DataError, match="without its closing block.*complete copy"):
        open_clips(root)
    tar.write_bytes(b"\x1f\x8b" + whole)
    with pytest.raises(DataError, match="not a readable tar"):
        open_clips(root)


def test_a_tar_that_shrinks_while_it_is_open(published):
    root = published()
    (clip,) = open_clips(root)
    tar = root / "lidar" / "d0ad_1_2.tar"
    tar.write_bytes(tar.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"0 of \d+ bytes.*d0ad_1_2.tar, clip d0ad_1_2, key d0ad_1_2.000006"):
        clip.read_sweep(2)


def test_one_broken_clip_does_not_hide_the_others(published):
    root = published(clip="good")
    published(clip="bad", in_tar=9)
    errors = []
    assert [clip.clip_id for clip in open_clips(root, on_error=errors.append)] == ["good"]
    assert [error.clip for error in errors] == ["bad"]


def test_round_trip(make_clip, tmp_path):
    clip = make_clip(frames=3)
    write_release(tmp_path, clip)
    (back,) = open_clips(tmp_path)
    assert back.clip_id == clip.clip_id
    assert back.frame_ids == ("000000", "000003", "000006")
    assert back.sensor.fingerprint() == clip.sensor.fingerprint()
    assert np.array_equal(back.timestamps_us, clip.timestamps_us)
    assert np.array_equal(back.world_SE3_lidar, clip.world_SE3_lidar)
    for index in (2, 0, 1):
        given, read = clip.read_sweep(index), back.read_sweep(index)
        assert np.array_equal(read.range_m, given.range_m.astype(np.float16).astype(np.float32))
        assert np.abs(read.range_m - given.range_m).max() <= 0.03125
        assert np.array_equal(read.intensity, given.intensity)
        assert np.array_equal(read.labels, given.labels)


def test_cameras_round_trip(make_clip, tmp_path):
    clip = make_clip(frames=4)
    write_release(tmp_path, clip)
    (back,) = open_clips(tmp_path)
    given, read = clip.cameras["camera_front_wide_120fov"], back.cameras["camera_front_wide_120fov"]
    assert (tmp_path / "ftheta_camera_front_wide_120fov" / "a_drive.mp4").is_file()
    assert len(read) == len(given) == 12
    assert np.abs(read.timestamps_us - given.timestamps_us).max() <= 1
    assert read.model == given.model
    assert np.array_equal(read.world_SE3_camera, given.world_SE3_camera)
    for index in (11, 0, 5, 6, 4, 11):  # out of order
        image = read.read(index)
        assert image.shape == (48, 64, 3)
        assert np.abs(image.astype(int) - given.read(index)).max() <= 4
    with pytest.raises(DataError, match=r"image 12 of 12.*a_drive.mp4, clip a_drive"):
        read.read(12)
    assert back.lidar.image_numbers.tolist() == [0, 3, 6, 9]


def test_clips_travel_to_other_processes(make_clip, tmp_path):
    write_release(tmp_path, make_clip())
    (clip,) = open_clips(tmp_path)
    clip.cameras["camera_front_wide_120fov"].read(1)
    copy = pickle.loads(pickle.dumps(clip))
    assert np.array_equal(copy.range_map(1), clip.range_map(1))
    assert np.array_equal(
        copy.cameras["camera_front_wide_120fov"].read(1), clip.cameras["camera_front_wide_120fov"].read(1)
    )


def test_cameras_of_their_own_rates_get_a_picture_per_sweep(make_clip, tmp_path, caplog):
    stamps = np.array([1_000, 81_000, 161_000, 241_000, 321_000])
    lens = PinholeCamera(50.0, 51.0, 31.5, 23.5, 64, 48)
    images = [np.full((48, 64, 3), 40 * k + 10, np.uint8) for k in range(5)]
    poses = np.tile(np.eye(4), (5, 1, 1))
    poses[:, 0, 3] = np.arange(5)
    slow = CameraStream("CAM_FRONT", stamps, images.__getitem__, lens, poses)
    fast = make_clip().cameras["camera_front_wide_120fov"]
    write_release(tmp_path, make_clip(cameras={"CAM_FRONT": slow, fast.name: fast}))
    (back,) = open_clips(tmp_path)
    assert back.frame_ids == ("000000", "000001", "000002", "000003")
    read = back.cameras["CAM_FRONT"]
    assert [round(float(read.read(k).mean()) / 40 - 0.25) for k in range(4)] == [
        0,
        1,
        2,
        4,
    ]  # nearest to 0, 0.1, 0.2, 0.3 s
    assert read.world_SE3_camera[:, 0, 3].tolist() == [0, 1, 2, 4]
    assert read.model == lens
    assert "distortion" not in caplog.text
    bent = replace(slow, model=replace(lens, distortion=(0.1, 0.0, 0.0, 0.0, 0.0)))
    write_release(tmp_path / "bent", make_clip(frames=6, cameras={"CAM_FRONT": bent}))
    assert "the layout has no lens distortion, that of camera CAM_FRONT is lost" in caplog.text


def test_pose_of_a_picture_that_was_left_out_is_interpolated(make_clip, edit_tar, tmp_path):
    write_release(tmp_path, make_clip())
    edit_tar(tmp_path / "pose" / "a_drive.tar", lambda name, data: data if int(name.split(".")[1]) % 3 == 0 else None)
    (back,) = open_clips(tmp_path)
    at = back.cameras["camera_front_wide_120fov"].world_SE3_camera[:, 0, 3]
    assert np.allclose(at, np.arange(12) / 3, atol=1e-4)


def test_points_are_projected_when_written(make_clip, tmp_path):
    sensor = uniform_sensor(16, 90)
    points = np.array([[10.0, 0, 0], [20.0, 0, 0], [0, 15.0, 0], [0, 0, 50.0]], np.float32)  # hidden, seen, out of view

    def read(index: int) -> Sweep:
        return Sweep(
            points=points, intensity=np.arange(1, 5, dtype=np.float32), labels=np.arange(5, 9, dtype=np.uint16)
        )

    clip = make_clip(sensor=sensor, cameras=False).with_lidar(read=read)
    write_release(tmp_path, clip, max_frames=2)
    (back,) = open_clips(tmp_path)
    sweep = back.read_sweep(1)
    assert len(back) == 2
    assert sorted(sweep.range_m[sweep.range_m > 0].tolist()) == [10.0, 15.0]
    assert sweep.intensity[sweep.range_m == 10].tolist() == [1.0]
    assert sweep.labels[sweep.range_m == 15].tolist() == [7]


def test_unknown_poses_stay_unknown(make_clip, tmp_path):
    write_release(tmp_path, make_clip(world_SE3_lidar=None))
    (back,) = open_clips(tmp_path)
    assert back.world_SE3_lidar is None
    assert "the metadata holds no poses" in back.notes


def test_one_sensor_per_folder(make_clip, tmp_path):
    write_release(tmp_path, make_clip("first"))
    unit = make_clip().sensor.with_rows(make_clip().sensor.row_elevations_rad + 0.001)
    write_release(tmp_path, make_clip("second", sensor=unit))
    first, second = open_clips(tmp_path)
    assert np.allclose(second.sensor.row_elevations_rad - first.sensor.row_elevations_rad, 0.001)
    with pytest.raises(UserError, match="holds clips of the sensor uniform, not wider"):
        write_release(tmp_path, make_clip("third", sensor=uniform_sensor(16, 180, name="wider")))
    with pytest.raises(DataError, match="300 rows"):
        write_release(tmp_path / "new", make_clip(sensor=uniform_sensor(300, 90)))


def test_another_sensor_does_not_fit_the_published_folder(published, make_clip):
    with pytest.raises(UserError, match="holds clips of the sensor pandar128"):
        write_release(published(), make_clip())


def files(root: Path) -> list[str]:
    return sorted(str(file.relative_to(root)) for file in root.rglob("*") if file.is_file())


def test_a_clip_that_breaks_leaves_nothing(make_clip, tmp_path):
    write_release(tmp_path, make_clip("whole"))
    before = files(tmp_path)
    clip = make_clip("breaks")

    def read(index: int) -> Sweep:
        if index == 2:
            raise DataError("cannot be read", file="somewhere")
        return clip.read_sweep(index)

    with pytest.raises(DataError, match="cannot be read"):
        write_release(tmp_path, clip.with_lidar(read=read))
    assert files(tmp_path) == before
    assert [one.clip_id for one in open_clips(tmp_path)] == ["whole"]


def test_a_full_disk_leaves_nothing(make_clip, tmp_path, monkeypatch):
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(DataError, match="cannot be written: No space left on device.*clip a_drive.*room"):
        write_release(tmp_path, make_clip())
    assert files(tmp_path) == []


def test_labels_of_some_sweeps(make_clip, tmp_path):
    clip = make_clip(cameras=False)

    def read(index: int) -> Sweep:
        return clip.read_sweep(index) if index == 1 else replace(clip.read_sweep(index), labels=None)

    write_release(tmp_path, clip.with_lidar(read=read))
    (back,) = open_clips(tmp_path)
    assert [back.read_sweep(k).labels is None for k in range(4)] == [True, False, True, True]


def test_nan_ranges_are_not_written(make_clip, tmp_path):
    clip = make_clip(cameras=False)
    broken = Sweep(range_m=np.full(clip.sensor.shape, np.nan, np.float32))
    with pytest.raises(DataError, match="float16 cannot hold.*clip a_drive, key a_drive.000000"):
        write_release(tmp_path, clip.with_lidar(read=lambda index: broken))


def test_the_same_clip_gives_the_same_bytes(make_clip, tmp_path):
    for name in ("one", "two"):
        write_release(tmp_path / name, make_clip(cameras=False))
    assert (tmp_path / "one/lidar/a_drive.tar").read_bytes() == (tmp_path / "two/lidar/a_drive.tar").read_bytes()


def test_broken_intrinsics_and_video(make_clip, edit_tar, npy, tmp_path):
    write_release(tmp_path, make_clip())
    intrinsics = tmp_path / "ftheta_intrinsic" / "a_drive.tar"
    good = intrinsics.read_bytes()
    edit_tar(intrinsics, lambda name, data: npy(np.zeros(9)))
    with pytest.raises(
        DataError, match="9 intrinsics.*ftheta_intrinsic/a_drive.tar, clip a_drive, key a_drive.ftheta_intrinsic"
    ):
        open_clips(tmp_path)
    intrinsics.write_bytes(good)
    video = tmp_path / "ftheta_camera_front_wide_120fov" / "a_drive.mp4"
    video.write_bytes(video.read_bytes()[:300])
    with pytest.raises(DataError, match="not a readable video.*a_drive.mp4, clip a_drive"):
        open_clips(tmp_path)


def test_boxes_and_lane_lines(make_clip, tmp_path):
    """Numbers of the table of objects are those of the images, which give them their times."""
    write_release(tmp_path, make_clip(frames=4))
    write_table(tmp_path / "all_object_info" / "a_drive.tar",
                {f"a_drive.{number:06d}.all_object_info.json": objects(number) for number in (0, 3, 6)})  # fmt: skip
    labels = [{"labelData": {"shape3d": {"polyline3d": {"vertices": [[0.0, 0, 0], [1.0, 0, 0]]}}}}]
    write_table(tmp_path / "3d_lanelines" / "a_drive.tar", {"a_drive.lanelines.json": {"labels": labels}})
    (clip,) = open_clips(tmp_path)
    times = clip.cameras["camera_front_wide_120fov"].timestamps_us
    assert clip.boxes(int(times[4])).world_SE3_box[0, 0, 3] == pytest.approx(4.0, abs=1e-3)
    assert [line.tolist() for line in clip.lane_lines()] == [[[0, 0, 0], [1, 0, 0]]]
    copy = pickle.loads(pickle.dumps(clip))
    assert copy.boxes(int(times[3])).tracks == ("7",)
