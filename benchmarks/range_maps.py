"""Rate of points to range maps and back, per shipped sensor, one thread, beside the straightforward way.

    python benchmarks/range_maps.py [--sensors pandar128 …] [--repeats 9] [--shuffle] [--json]

A sweep holds one point per pixel with a return (nine pixels in ten, spread over half of the pixel's width), as float32
numpy array in scan order, row by row; ``--shuffle`` mixes it. The straightforward way looks for the nearest beam of
every point among all beams and sorts by range; both must give the same ranges to the last bit and the same points, or
the run fails. Rates are the best of some rounds, in millions of points (returns) per second; those of images in
millions of pixels of the range map. Everything is measured in one run of one process.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from host import processor

from cosmos_lidar.sensors import (
    Sensor,
    compensate_motion,
    decompensate_motion,
    load_sensor,
    prepare_range_map,
    project_points,
    range_map_to_points,
    ray_directions,
    restore_range_map,
    sensor_names,
)

COLUMNS = {
    "project": "points to map", "straightforward": "straightforward", "ratio": "ratio", "unproject": "map to points",
    "compensate": "compensate", "decompensate": "decompensate", "image": "to image", "restore": "from image",
}  # fmt: skip


def sweep(sensor: Sensor, shuffle: bool, seed: int = 0) -> np.ndarray:
    """Return (N, 3) float32 points, spread over half of each pixel's width."""
    rng = np.random.default_rng(seed)
    near, far = 2.0, 0.95 * sensor.max_range_m
    range_m = rng.uniform(near, far, sensor.shape) * (rng.random(sensor.shape) < 0.9)
    azimuth = rng.uniform(-0.5, 0.5, sensor.shape) * np.pi / sensor.columns
    x, y, z = np.moveaxis(ray_directions(sensor) * range_m[..., None], -1, 0)
    turned = [x * np.cos(azimuth) - y * np.sin(azimuth), x * np.sin(azimuth) + y * np.cos(azimuth), z]
    points = np.stack(turned, axis=-1)[range_m > 0].astype(np.float32)
    return rng.permutation(points) if shuffle else points


def straightforward(points: np.ndarray, sensor: Sensor) -> tuple[np.ndarray, np.ndarray]:
    """Return range map and point numbers: nearest of all beams, then nearest of all points; nothing clever."""
    x, y, z = points.astype(np.float64).T
    distance = np.sqrt(x * x + y * y + z * z)
    elevation = np.arcsin(z / distance)
    parts = np.array_split(elevation, max(len(elevation) // 4096, 1))  # beams x points of a part fit into the cache
    row = np.concatenate([np.abs(part[:, None] - sensor.row_elevations_rad).argmin(1) for part in parts])
    turned = sensor.first_azimuth_rad - np.arctan2(y, x) + sensor.row_azimuth_offsets_rad[row]
    turned = turned if sensor.clockwise else -turned
    column = np.floor(turned / (2.0 * np.pi) * sensor.columns).astype(np.int64) % sensor.columns
    low = sensor.row_elevations_rad[-1] - sensor.elevation_slack_rad
    high = sensor.row_elevations_rad[0] + sensor.elevation_slack_rad
    kept = np.nonzero((distance < sensor.max_range_m) & (elevation >= low) & (elevation <= high))[0]
    far_first = kept[np.argsort(distance[kept].astype(np.float32), kind="stable")[::-1]]
    range_m, index = np.zeros(sensor.shape, np.float32), np.full(sensor.shape, -1)
    range_m[row[far_first], column[far_first]] = distance[far_first]
    index[row[far_first], column[far_first]] = far_first
    return range_m, index


def best_seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the shortest of some rounds, after one that does not count."""
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])


def measure(sensor: Sensor, repeats: int, shuffle: bool) -> dict[str, object]:
    """Return a row of rates for a sensor.

    Raises:
        SystemExit: the two ways disagree.
    """
    points = sweep(sensor, shuffle)
    projection = project_points(points, sensor)
    range_m, index = straightforward(points, sensor)
    if not (np.array_equal(projection.range_m, range_m) and np.array_equal(projection.point_index, index)):
        raise SystemExit(f"{sensor.name}: the range maps of the two ways differ")
    end_SE3_start = np.eye(4)
    end_SE3_start[:2, :2] = [[0.9998, -0.02], [0.02, 0.9998]]
    end_SE3_start[0, 3] = -1.5
    even = range_m[:, : sensor.columns // sensor.format.pair_columns * sensor.format.pair_columns]
    image = prepare_range_map(even, sensor.format)
    count = {"image": even.size, "restore": even.size, "unproject": int((range_m > 0).sum())}
    works = {
        "project": lambda: project_points(points, sensor),
        "unproject": lambda: range_map_to_points(range_m, sensor),
        "compensate": lambda: compensate_motion(points, sensor, end_SE3_start),
        "decompensate": lambda: decompensate_motion(points, sensor, end_SE3_start),
        "image": lambda: prepare_range_map(even, sensor.format),
        "restore": lambda: restore_range_map(image, sensor.format),
        "straightforward": lambda: straightforward(points, sensor),
    }
    slow = {"straightforward": min(repeats, 3), "decompensate": min(repeats, 3)}
    seconds = {name: best_seconds(work, slow.get(name, repeats)) for name, work in works.items()}
    rates = {name: count.get(name, len(points)) / seconds[name] / 1e6 for name in works}
    rates["ratio"] = rates["project"] / rates["straightforward"]
    return {"sensor": sensor.name, "rows": sensor.rows, "columns": sensor.columns, "points": len(points), **rates}


def machine() -> str:
    """Return processor and versions."""
    versions = f"torch {torch.__version__}, numpy {np.__version__}, Python {platform.python_version()}"
    return f"{processor()}, one thread, {versions}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sensors", nargs="+", default=sensor_names(), metavar="NAME")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--shuffle", action="store_true", help="points in random order instead of scan order")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(load_sensor(name), args.repeats, args.shuffle) for name in args.sensors]
    out = sys.stdout.write
    if args.json:
        out(json.dumps({"machine": machine(), "unit": "million per second", "rows": rows}, indent=1) + "\n")
        return
    order = "random order" if args.shuffle else "scan order"
    out(f"{machine()}; float32 points in {order}; best of {args.repeats}; {time.strftime('%Y-%m-%d')}\n\n")
    out(f"| sensor | map | points | {' | '.join(COLUMNS.values())} |\n" + "|---" * (3 + len(COLUMNS)) + "|\n")
    for row in rows:
        cells = " | ".join(f"{row[name]:.1f}" for name in COLUMNS)
        out(f"| {row['sensor']} | {row['rows']} x {row['columns']} | {row['points']:,} | {cells} |\n")


if __name__ == "__main__":
    main()
