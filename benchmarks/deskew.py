"""Pixels lost when motion-compensated points become a range map, as they come and after de-skew toward the lidar.

    python benchmarks/deskew.py [--sensor waymo_top] [--seeds 3] [--references start middle end] [--json]

A car drives through synthetic streets at 20 m/s, brakes by 4 m/s² and turns by 0.3 rad/s, ever faster. Its lidar is
cast in 32 parts per turn, each from where it was. The returns are compensated to the start, middle or end of the sweep
with the true motion, as datasets hand them out, and projected again: as they come, and moved back by poses of several
rates.

pixels lost: of pixels that held a return, those that hold none. returns lost: of returns, those that are in no pixel,
because they share one with a nearer return. wrong: of pixels with a return before and after, those that differ by over
0.2 m. No noise, so that nothing else changes.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from cosmos_lidar.clips.deskew import sweep_motion
from cosmos_lidar.clips.poses import rotation_from_vector
from cosmos_lidar.clips.trajectory import Trajectory
from cosmos_lidar.sensors import Sensor, load_sensor, project_points, range_map_to_points
from cosmos_lidar.synth import build_scene
from cosmos_lidar.synth.drive import VEHICLE_SE3_LIDAR
from cosmos_lidar.synth.lidar import cast_sweep

SWEEP_US, PARTS = 100_000, 32
REFERENCES = {"start": 0, "middle": SWEEP_US // 2, "end": SWEEP_US}
# Name -> (rate of poses in Hz or None for start and end of the sweep alone, order of motion, points have times).
WAYS: dict[str, tuple[float | None, int, bool] | None] = {
    "as they come": None,
    "start and end pose, by azimuth": (None, 1, False),
    "start and end pose, by time": (None, 1, True),
    "poses at 100 Hz, by azimuth": (100.0, 1, False),
    "poses at 100 Hz, by time": (100.0, 1, True),
    "poses at 2 Hz, straight, by time": (2.0, 1, True),
    "poses at 2 Hz, constant acceleration, by time": (2.0, 2, True),
}


@dataclass
class Row:
    """One line of the table; shares from 0 to 1."""

    way: str
    reference: str
    lost: float
    returns_lost: float
    wrong: float


def world_SE3_lidar(time_s: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return (..., 4, 4) at times after ``start`` (4, 4), where the vehicle drives at 20 m/s."""
    yaw = 0.3 * time_s + 0.25 * time_s**2
    motion = np.tile(np.eye(4), (*time_s.shape, 1, 1))
    motion[..., 0, 3] = 20.0 * time_s - 2.0 * time_s**2
    motion[..., 1, 3] = 0.5 * 20.0 * 0.3 * time_s**2
    motion[..., :3, :3] = rotation_from_vector(np.stack([0 * yaw, 0 * yaw, yaw], -1))
    return start @ motion @ VEHICLE_SE3_LIDAR


def cast_moving(sensor: Sensor, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the measured range map (rows, columns) and the pose of the vehicle when it began."""
    scene = build_scene(seed, 2.0)
    start, bodies = scene.world_SE3_vehicle(1.0), scene.at(1.0 + 0.5e-6 * SWEEP_US)
    edges = np.linspace(0, sensor.columns, PARTS + 1).astype(int)
    maps = []
    for first, end in zip(edges[:-1], edges[1:], strict=True):
        time_s = np.array([first, end]) / sensor.columns * SWEEP_US / 1e6
        part = sensor.between_columns(int(first), int(end))
        sweep = cast_sweep(part, bodies, scene.terrain, world_SE3_lidar(time_s, start), float(np.ptp(time_s)))
        maps.append(sweep.range_m)
    return np.concatenate(maps, axis=1), start


def track(start: np.ndarray, rate_hz: float, order: int) -> Trajectory:
    """Return poses at a rate, the nodes beside the ends of the sweep."""
    times_us = np.rint((np.arange(-3, max(4, 0.2 * rate_hz)) - 0.37) / rate_hz * 1e6).astype(np.int64)
    return Trajectory(world_SE3_lidar(times_us / 1e6, start), times_us, order)


def measure(sensor: Sensor, seeds: Sequence[int], references: Sequence[str]) -> list[Row]:
    """Return the table: every way for every reference time, means over the streets."""
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    ends_us = np.array([0, SWEEP_US])
    for seed in seeds:
        range_m, start = cast_moving(sensor, seed)
        seen = range_map_to_points(range_m, sensor)
        time_us = np.rint((np.nonzero(range_m)[1] + 0.5) / sensor.columns * SWEEP_US)
        truth = track(start, 2000.0, 1)
        for reference in references:
            at = REFERENCES[reference]
            points = sweep_motion(sensor, ends_us, truth, None, at).compensated(np.asarray(seen), time_us)
            for way, how in WAYS.items():
                moved = points
                if how is not None:
                    ends = world_SE3_lidar(ends_us / 1e6, start)
                    trajectory = None if how[0] is None else track(start, how[0], how[1])
                    motion = sweep_motion(sensor, ends_us, trajectory, ends, at)
                    moved = motion.as_seen(points, time_us if how[2] else None)
                found.setdefault((reference, way), []).append(shares(range_m, moved, sensor))
    return [Row(way, reference, *np.mean(values, 0)) for (reference, way), values in found.items()]


def shares(range_m: np.ndarray, points: np.ndarray, sensor: Sensor) -> tuple[float, float, float]:
    """Return the shares of pixels lost, returns lost, and pixels of another range."""
    after = np.asarray(project_points(points, sensor).range_m)
    held, both = range_m > 0, (range_m > 0) & (after > 0)
    wrong = np.abs(after - range_m)[both] > 0.2
    return float((held & (after == 0)).sum() / held.sum()), 1 - (after > 0).sum() / len(points), float(wrong.mean())


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sensor", default="waymo_top", help="name or file (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="number of streets (default %(default)s)")
    parser.add_argument("--references", nargs="+", choices=sorted(REFERENCES), default=list(REFERENCES))
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    args = parser.parse_args()
    rows = measure(load_sensor(args.sensor), range(1, args.seeds + 1), args.references)
    if args.json:
        text = json.dumps({"sensor": args.sensor, "rows": [asdict(row) for row in rows]}, indent=1)
    else:
        text = f"{args.sensor}, {args.seeds} streets, numpy {np.__version__}, {platform.machine()}\n\n"
        text += (
            "| compensated to | projected | pixels lost | returns lost | wrong by over 0.2 m |\n|---|---|---|---|---|"
        )
        for row in rows:
            text += f"\n| {row.reference} | {row.way} | {row.lost:.2%} | {row.returns_lost:.2%} | {row.wrong:.2%} |"
    sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
