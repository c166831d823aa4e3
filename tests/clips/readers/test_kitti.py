from __future__ import annotations

from pathlib import Path

import numpy as np

# Lidar axes (x forward, y left, z up) to camera axes (x right, y down, z forward), and a mounting 0.3 m behind.
TURN = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]], float)
TR = np.column_stack([TURN, [0.0, -0.08, -0.3]])
P2 = np.array([[700.0, 0, 50, 42.0], [0, 700.0, 40, 0.14], [0, 0, 1, 0.003]])


def scan(file: Path, points: np.ndarray | None = None) -> np.ndarray:
    if points is None:
        points = np.random.default_rng(len(file.name)).uniform(-40, 40, (50, 4))
    file.parent.mkdir(parents=True, exist_ok=True)
    points.astype("<f4").tofile(file)
    return points.astype(np.float32)


def row(name: str, matrix: np.ndarray) -> str:
    return f"{name}: " + " ".join(f"{value:.9e}" for value in np.ravel(matrix)) + "\n"


def image(file: Path, size: tuple[int, int] = (100, 80)) -> None:
    from PIL import Image

    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 20, 30)).save(file)


def odometry(root: Path, frames: int = 4, poses: bool = True, step_m: float = 1.0) -> Path:
    """Write a sequence that drives forward; camera z is forward. Every scan holds one point, 10 m ahead."""
    folder = root / "sequences" / "03"
    for k in range(frames):
        scan(folder / "velodyne" / f"{k:06d}.bin", np.array([[10.0, 1.0, 0.5, 0.25]]))
        image(folder / "image_2" / f"{k:06d}.png")
    (folder / "times.txt").write_text("".join(f"{0.1 * k:e}\n" for k in range(frames)))
    (folder / "calib.txt").write_text(row("P2", P2) + row("Tr", TR))
    if poses:
        (root / "poses").mkdir()
        lines = [" ".join(map(str, np.column_stack([np.eye(3), [0, 0, step_m * k]]).ravel())) for k in range(frames)]
        (root / "poses" / "03.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_sample(root: Path) -> Path:
    """A sequence with poses and images, of points around the car on the road."""
    folder = odometry(root)
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 60)
    points = np.column_stack([12 * np.cos(angles), 12 * np.sin(angles), np.full(60, -1.6), np.full(60, 0.4)])
    for k in range(4):
        scan(folder / "velodyne" / f"{k:06d}.bin", points)
    return root


def cloud(count: int = 3000, seed: int = 0) -> np.ndarray:
    """Points x y z intensity that an HDL-64E could see, in random order."""
    rng = np.random.default_rng(seed)
    turn, rise, far = (
        rng.uniform(-np.pi, np.pi, count),
        np.radians(rng.uniform(-24, 2, count)),
        rng.uniform(4, 60, count),
    )
    flat = far * np.cos(rise)
    xyz = [flat * np.cos(turn), flat * np.sin(turn), far * np.sin(rise)]
    return np.stack([*xyz, rng.random(count)], 1).astype(np.float32)


def raw(root: Path, suffix: str = "sync") -> Path:
    """Write a drive that goes north at 10 m/s with yaw 90 degrees (x forward is north), frame 2 of 5 missing."""
    day = root / "2011_09_26"
    drive = day / f"2011_09_26_drive_0009_{suffix}"
    clock = "2011-09-26 13:00:0{:.6f}000"
    for k in range(5):
        if k != 2:
            scan(drive / "velodyne_points" / "data" / f"{k:010d}.bin", np.array([[5.0, 0, 0, 1.0]]))
        image(drive / "image_02" / "data" / f"{k:010d}.png")
        record = drive / "oxts" / "data" / f"{k:010d}.txt"
        record.parent.mkdir(parents=True, exist_ok=True)
        north = np.degrees(1.0 * k / 6378137.0)
        record.write_text(f"{north:.12f} 8.0 110.0 0 0 {np.pi / 2} 1 2 3\n")
    for name, shift in (("timestamps", 0.05), ("timestamps_start", 0.0), ("timestamps_end", 0.1)):
        times = [clock.format(0.1 * k + shift) for k in range(5)]
        (drive / "velodyne_points" / f"{name}.txt").write_text("\n".join(times) + "\n")
    middle = [clock.format(0.1 * k + 0.05) for k in range(5)]
    for folder in ("oxts", "image_02"):
        (drive / folder / "timestamps.txt").write_text("\n".join(middle) + "\n")
    (day / "calib_imu_to_velo.txt").write_text(
        "calib_time: 25-May-2012\n" + row("R", np.eye(3)) + row("T", np.array([0.8, 0, 0]))
    )
    (day / "calib_velo_to_cam.txt").write_text(row("R", TR[:, :3]) + row("T", TR[:, 3]))
    (day / "calib_cam_to_cam.txt").write_text(row("R_rect_00", np.eye(3)) + row("P_rect_02", P2))
    return drive
