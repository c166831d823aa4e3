"""KITTI raw: a drive per clip with scans, images, clocks, navigation and calibration, as the reader ``kitti`` takes it.

::

    CLIP/calib_cam_to_cam.txt, calib_velo_to_cam.txt, calib_imu_to_velo.txt
    CLIP/CLIP_drive_0001_extract/velodyne_points/data/0000000000.bin, …    float32 x y z reflectance of all returns
    CLIP/CLIP_drive_0001_extract/velodyne_points/timestamps.txt, timestamps_start.txt, timestamps_end.txt
    CLIP/CLIP_drive_0001_extract/image_02/data/0000000000.png, …, image_02/timestamps.txt
    CLIP/CLIP_drive_0001_extract/oxts/data/0000000000.txt, …, oxts/timestamps.txt

A clip that has the name of a drive (``2011_09_26_drive_0009_sync``) goes into the folder of that day, whose calibration
its drives share. Drives end with ``_sync`` where points are compensated for motion, and ``timestamps.txt`` then has the
times to which they are; with ``_extract`` where they are as measured.

The navigation unit stands in the axes of the vehicle, or of the lidar where its mounting is not known. Record k of
``_sync`` drives is of the time of the points of sweep k, as in KITTI; behind the last one follow those of starts and
ends of sweeps that are no such time. Other drives have a record at each start and end, in order. As clips have no place
on Earth, positions count from the first record, at latitude and longitude 0; what is not known (velocities,
accelerations, accuracies) is NaN. Cameras are numbered from ``image_02`` on, each with its own rate and
clock. Rows ``K``, ``D``, ``R``, ``T`` of the calibration have their lenses and places. ``P_rect`` is ``K [R | t]``,
where R is not the identity if cameras look along different axes: images are not rectified. Intensities keep the
numbers of the dataset.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import Clip, LidarStream
from cosmos_lidar.clips.readers.kitti.files import EARTH_RADIUS_M
from cosmos_lidar.clips.writers._contract import Losses, Progress, WriteOptions, Written
from cosmos_lidar.clips.writers._image_files import image_bytes
from cosmos_lidar.clips.writers._kitti import (
    NumberedCamera,
    first_camera,
    note_frames,
    note_sweep,
    numbered_cameras,
    projection,
    relative,
    row,
    write_scan,
)
from cosmos_lidar.clips.writers._motion import (
    moments_of,
    note_camera_poses,
    note_difference,
    reference_times,
    track_of,
)
from cosmos_lidar.clips.writers._staged import Staged
from cosmos_lidar.errors import DataError

DESCRIPTION = "KITTI raw drives: scans, PNG images, clocks, OXTS records and calibration"
HOLDS = frozenset(("points", "intensity", "times", "poses", "reference")) | frozenset(
    ("images", "lens", "camera_times", "camera_poses", "camera_mounting")
)
_OWN_NAME = re.compile(r"(\d{4}_\d\d_\d\d)_drive_(\d{4})_(?:sync|extract)")
_LATEST_US = 9_000_000_000_000_000  # year 2255: nanoseconds of 64 bits, which the clocks are read as, end in 2262


def begin(clips: Sequence[Clip], folder: Path) -> None:
    """Write the calibration of days that several drives may share, so that drives may be written at the same time."""
    named = [clip for clip in clips if clip.lidars and _OWN_NAME.fullmatch(clip.clip_id)]
    days = {_place(clip)[0]: clip for clip in reversed(named)}
    for day, clip in days.items():
        with Staged(folder, clip.clip_id) as staged:
            for name, text in _calibration(clip, numbered_cameras(clip, Losses(clip, HOLDS))).items():
                if not (folder / day / name).is_file():
                    staged.file(f"{day}/{name}").write_text(text, encoding="utf-8")


def frames(clip: Clip) -> int:
    """Return the sweeps and images that will be written; 0 for a clip that will be refused."""
    if not clip.lidars:
        return 0
    return len(clip) + sum(len(one.stream) for one in numbered_cameras(clip, Losses(clip, HOLDS)))


def write_clip(clip: Clip, folder: Path, options: WriteOptions, progress: Progress) -> Written:
    """Write the main lidar of a clip, and its cameras, to ``folder/CLIP``.

    Raises:
        DataError: the clip has no lidar, a sweep without intensity, times before 1970 or after 2255, or cannot be read;
            its day has another calibration; or the folder cannot be written.
    """
    lidar, losses = clip.lidar, Losses(clip, HOLDS)
    cameras, (day, drive) = numbered_cameras(clip, losses), _place(clip)
    _expect_times(clip, cameras)
    shared = _OWN_NAME.fullmatch(clip.clip_id) is not None
    calibration = _calibration(clip, cameras)
    with Staged(folder, clip.clip_id) as staged:
        for name, text in calibration.items():
            if not shared or _is_missing(folder / day / name, text, clip):
                staged.file(f"{day}/{name}").write_text(text, encoding="utf-8")
        place = staged.folder(f"{day}/{drive}")
        _write_scans(place / "velodyne_points", clip, losses, progress)
        for camera in cameras:
            _write_camera(place / f"image_{camera.number:02d}", camera, progress)
        _write_navigation(place / "oxts", lidar, losses)
        files = tuple(name for name in staged.files if not shared or name.startswith(f"{day}/{drive}/"))
    _note_cameras(losses, clip, cameras)
    return Written(len(lidar), files, losses.found)


def _place(clip: Clip) -> tuple[str, str]:
    """Return the folders of day and drive of a clip."""
    kind = "sync" if clip.motion_compensated else "extract"
    own = _OWN_NAME.fullmatch(clip.clip_id)
    day, number = (own[1], own[2]) if own else (clip.clip_id, "0001")
    return day, f"{day}_drive_{number}_{kind}"


def _expect_times(clip: Clip, cameras: list[NumberedCamera]) -> None:
    for times in (clip.timestamps_us, *(camera.stream.timestamps_us for camera in cameras)):
        if times.size and not 0 <= times.min() <= times.max() <= _LATEST_US:
            problem = f"times from {times.min()} to {times.max()} us"
            raise DataError(problem, file=clip.source, clip=clip.clip_id, wanted="dates from 1970 to 2255")


def _is_missing(file: Path, text: str, clip: Clip) -> bool:
    """Return whether a shared file is still to be written; refuse another one."""
    if not file.is_file():
        return True
    if file.read_text(encoding="utf-8") != text:
        wanted = "drives of a day of one vehicle, whose calibration they share: write this one to another folder"
        raise DataError("the folder of the day has another calibration", file=file, clip=clip.clip_id, wanted=wanted)
    return False


def _write_scans(place: Path, clip: Clip, losses: Losses, progress: Progress) -> None:
    lidar = clip.lidar
    names = [f"{number:010d}" for number in range(len(lidar))]
    note_frames(losses, lidar, names)
    (place / "data").mkdir(parents=True)
    for index, name in enumerate(names):
        write_scan(place / "data" / f"{name}.bin", note_sweep(losses, lidar, index)[0], clip, lidar.frame_ids[index])
        progress(1)
    moments = reference_times(lidar) if lidar.motion_compensated else lidar.timestamps_us.sum(axis=1) // 2
    clocks = {"": moments, "_start": lidar.timestamps_us[:, 0], "_end": lidar.timestamps_us[:, 1]}
    for part, times in clocks.items():
        _write_clock(place / f"timestamps{part}.txt", times)


def _write_clock(file: Path, times_us: np.ndarray) -> None:
    """Write dates and times to the nanosecond, such as ``2011-09-26 13:02:25.594360000``."""
    texts = np.datetime_as_string(times_us.astype("datetime64[us]").astype("datetime64[ns]"), unit="ns")
    file.write_text("".join(f"{text.replace('T', ' ')}\n" for text in texts.tolist()), encoding="utf-8")


def _write_camera(place: Path, camera: NumberedCamera, progress: Progress) -> None:
    (place / "data").mkdir(parents=True)
    for index in range(len(camera.stream)):
        (place / "data" / f"{index:010d}.png").write_bytes(image_bytes(camera.stream, index, "png"))
        progress(1)
    _write_clock(place / "timestamps.txt", camera.stream.timestamps_us)


def _write_navigation(place: Path, lidar: LidarStream, losses: Losses) -> None:
    track = track_of(lidar)
    if track is None:
        if lidar.reference_us is not None and lidar.motion_compensated:
            losses.add("reference", "the time of points is that of the start, where poses are not known")
        return
    times = moments_of(lidar)
    if lidar.motion_compensated:
        times = np.concatenate([reference_times(lidar), np.setdiff1d(lidar.timestamps_us, reference_times(lidar))])
    poses = track.at(times)
    if lidar.world_SE3_lidar is not None:
        note_difference(losses, "poses", lidar.world_SE3_lidar, track.at(lidar.timestamps_us), "one pose at a time")
    world_SE3_unit = poses @ _lidar_SE3_unit(lidar)
    origin = world_SE3_unit[0, :3, 3]
    if np.linalg.norm(origin) > 1e-6:
        losses.add("poses", f"positions count from the first one, {' '.join(f'{value:.3f}' for value in origin)} m")
    (place / "data").mkdir(parents=True)
    for number, pose in enumerate(world_SE3_unit):
        (place / "data" / f"{number:010d}.txt").write_text(_record(pose, origin), encoding="utf-8")
    _write_clock(place / "timestamps.txt", times)


def _lidar_SE3_unit(lidar: LidarStream) -> np.ndarray:
    return np.eye(4) if lidar.ego_SE3_lidar is None else np.linalg.inv(lidar.ego_SE3_lidar)


def _record(world_SE3_unit: np.ndarray, origin_m: np.ndarray) -> str:
    """Return a navigation record: latitude, longitude (degrees, Mercator), altitude (m), roll, pitch, yaw, and NaN."""
    east, north, up = world_SE3_unit[:3, 3] - origin_m
    latitude = np.degrees(np.arcsin(np.tanh(north / EARTH_RADIUS_M)))
    longitude = np.degrees(east / EARTH_RADIUS_M)
    turn = world_SE3_unit[:3, :3]
    roll, yaw = np.arctan2(turn[2, 1], turn[2, 2]), np.arctan2(turn[1, 0], turn[0, 0])
    pitch = np.arctan2(-turn[2, 0], np.hypot(turn[2, 1], turn[2, 2]))
    known = [repr(float(value)) for value in (latitude, longitude, up, roll, pitch, yaw)]
    return " ".join([*known, *["nan"] * 19, *["0"] * 5]) + "\n"


def _calibration(clip: Clip, cameras: list[NumberedCamera]) -> dict[str, str]:
    """Return the text of each calibration file that the clip has something for."""
    found, lidar = {}, clip.lidar
    if track_of(lidar) is not None:
        found["calib_imu_to_velo.txt"] = _motion_rows(_lidar_SE3_unit(lidar))
    if cameras:
        first = first_camera(cameras)
        found["calib_velo_to_cam.txt"] = _motion_rows(first)
        found["calib_cam_to_cam.txt"] = row("R_rect_00", np.eye(3)) + "".join(_rows(one, first) for one in cameras)
    return found


def _motion_rows(pose: np.ndarray) -> str:
    return row("R", pose[:3, :3]) + row("T", pose[:3, 3])


def _rows(camera: NumberedCamera, first_SE3_lidar: np.ndarray) -> str:
    number, model = f"{camera.number:02d}", camera.model
    size, pose = (model.width, model.height), relative(camera, first_SE3_lidar)
    rows: dict[str, Iterable[float]] = {
        f"S_{number}": size,
        f"K_{number}": model.matrix,
        f"D_{number}": model.distortion or (0.0,) * 5,
        f"R_{number}": pose[:3, :3],
        f"T_{number}": pose[:3, 3],
        f"S_rect_{number}": size,
        f"R_rect_{number}": np.eye(3),
        f"P_rect_{number}": projection(camera, first_SE3_lidar),
    }
    if camera.number == 0:
        del rows["R_rect_00"]  # is there already
    return "".join(row(name, values) for name, values in rows.items())


def _note_cameras(losses: Losses, clip: Clip, cameras: list[NumberedCamera]) -> None:
    note_camera_poses(losses, {one.stream.name: one.stream for one in cameras}, clip.lidar)
    bent = [one.stream.name for one in cameras if any(one.model.distortion)]
    if bent and clip.motion_compensated:
        losses.add("lens", f"{bent[0]} and others: distortion, which images of _sync drives are taken not to have")
    if clip.lidar.ego_SE3_lidar is not None and track_of(clip.lidar) is not None:
        losses.add("mounting", "place of the navigation unit (calib_imu_to_velo.txt): the reader does not take it")
