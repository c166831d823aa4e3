"""Angular errors of sensors fitted to sweeps: constructed ones of known lidars, and real recordings.

    COSMOS_LIDAR_TEST_DATA=… python benchmarks/sensor_fit.py [--json]

Constructed sweeps are of synthetic streets, ranges with 1.5 cm of noise and lost pulses, points in random order with
rings and times, with rings alone, or with nothing; the lidars are the NCore models of the folder of recordings, where
it is there, else sensors that ship. Their tables say what should be found: the largest differences in elevation, and in
azimuth within a column. Recordings are compared with the tables that ship (mean difference in elevation). Errors are in
degrees beyond 20 m, see cosmos_lidar/sensors/fit/score.py; kept is the share of points that are in a pixel and not
displaced by a nearer one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.clips import Sweep, open_clips
from cosmos_lidar.clips.sweep import to_points
from cosmos_lidar.log import logger
from cosmos_lidar.sensors import Sensor, load_sensor, sensor_of_model
from cosmos_lidar.sensors.fit import FittedSensor, fit_sensor, row_differences
from cosmos_lidar.synth import synthesize_drive

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("pandar128", "pandar64_pandaset", "waymo_top")
# Recording, lidar (None: the main one), columns per turn times those found, rings are used, table to compare with.
RECORDINGS: tuple[tuple[str, str | None, int, bool, str | None], ...] = (
    ("kitti_velodyne", None, 1, True, "kitti_hdl64e"),
    ("kitti_object", None, 1, True, "kitti_hdl64e"),
    ("nuscenes", None, 1, True, "nuscenes_hdl32e"),
    ("nuscenes", None, 2, True, "nuscenes_hdl32e"),
    ("nuscenes", None, 1, False, "nuscenes_hdl32e"),
    ("av2", "up_lidar", 1, True, "av2_up_vlp32c"),
    ("av2", "down_lidar", 1, True, "av2_down_vlp32c"),
)
HEADINGS = ("lidar", "known of points", "found", "mean", "median", "p95", "kept", "against the table", "s")


def constructed(sensor: Sensor, known: str, seed: int, off_deg: float) -> Sweep:
    """Return a sweep of a street as points in random order, with what is ``known`` of them.

    Args:
        sensor: the lidar.
        known: "rings, times", "rings" or "nothing".
        seed: of street and noise.
        off_deg: standard deviation of directions.
    """
    sweep = to_points(synthesize_drive(seed, sensor, 1).read_sweep(0), sensor)
    points, ring, time_us = (np.asarray(one) for one in (sweep.points, sweep.ring, sweep.time_us))
    rng = np.random.default_rng(seed)
    points = points + rng.normal(size=points.shape) * np.radians(off_deg) * np.linalg.norm(points, axis=1)[:, None]
    order = rng.permutation(len(points))
    return Sweep(
        points=points[order],
        ring=ring[order] if known != "nothing" else None,
        time_us=time_us[order] if known == "rings, times" else None,
    )


def constructed_rows(data: Path, sweeps: int) -> Iterator[dict[str, Any]]:
    """Yield a row of the table for each known lidar and each kind of recording."""
    for name in MODELS:
        file = data / "sensor_models" / f"ncore_{name}.json"
        if file.is_file():
            true = sensor_of_model(json.loads(file.read_text()), name)
        elif name in ("pandar128", "waymo_top"):
            true = load_sensor("pandar128_row_offset" if name == "pandar128" else name)
        else:
            continue
        true = replace(true, max_range_m=180.0, vehicle_SE3_lidar=None)
        kinds = [("rings, times", 0.0), ("rings", 0.0), ("nothing", 0.0), ("rings, times", 0.02), ("nothing", 0.02)]
        for known, off_deg in kinds:
            given = [constructed(true, known, seed, off_deg) for seed in range(sweeps)]
            label = f"{name}, constructed" + (f", directions off by {off_deg} degrees" if off_deg else "")
            row = fitted_row(label, known, given, rows=true.rows)
            found, step = row["fitted"].sensor, 2.0 * np.pi / true.columns
            up = np.degrees(np.abs(found.row_elevations_rad - true.row_elevations_rad)).max()
            azimuth = [one.first_azimuth_rad + one.row_azimuth_offsets_rad for one in (found, true)]
            along = (azimuth[0] - azimuth[1]) % step
            along = np.degrees(np.minimum(along, step - along)).max()
            yield {**row, "table": f"at most {up:.4f} up, {along:.4f} along"}


def recorded_rows(data: Path) -> Iterator[dict[str, Any]]:
    """Yield a row of the table for each recording that is there."""
    for folder, lidar, times, rings, table in RECORDINGS:
        if not (data / folder).is_dir():
            continue
        given = as_seen(data / folder, lidar)
        if not rings:
            given = [replace(sweep, ring=None) for sweep in given]
        first = fit_sensor(given)
        more = {} if times == 1 else {"columns": times * first.sensor.columns}
        row = fitted_row(folder if lidar is None else f"{folder}, {lidar}", known_of(given[0]), given, **more)
        yield with_table(row, load_sensor(table) if table else None)
        if row["fitted"].from_origin is not None:
            yield {**row, "lidar": f"{row['lidar']}, from the beams' origin", "errors": row["fitted"].from_origin,
                   "kept": float("nan"), "table": f"{row['fitted'].origin_m:.3f} m higher"}  # fmt: skip
    if (data / "ouster").is_dir():
        sys.path.insert(0, str(ROOT))
        from tests.sensors.fit.ouster import read_capture

        given, factory = read_capture(data / "ouster")
        row = fitted_row("ouster OS1-128", known_of(given[0]), given)
        yield with_table(row, replace(row["fitted"].sensor, row_elevations_rad=factory["elevations_rad"]))


def known_of(sweep: Sweep) -> str:
    """Return what a recording has beside coordinates."""
    names = [name for name, value in (("rings", sweep.ring), ("times", sweep.time_us)) if value is not None]
    return ", ".join(names) or "order"


def as_seen(path: Path, lidar: str | None) -> list[Sweep]:
    """Return the sweeps of a recording, their motion compensation undone where its poses are known."""
    stream = open_clips(path, lidar=lidar)[0].lidar
    found = []
    for index in range(len(stream)):
        sweep, motion = stream.read(index), stream.motion(index)
        if stream.motion_compensated and motion is not None and sweep.points is not None:
            sweep = replace(sweep, points=motion.as_seen(sweep.points, sweep.time_us))
        found.append(sweep)
    return found


def fitted_row(lidar: str, known: str, sweeps: list[Sweep], **options: Any) -> dict[str, Any]:
    """Return a row of the table."""
    started = time.process_time()
    fitted = fit_sensor(sweeps, **options)
    took = time.process_time() - started
    found = f"{fitted.sensor.rows} x {fitted.sensor.columns}" + ("" if fitted.locked else ", not locked")
    return {"lidar": lidar, "known": known, "found": found, "errors": fitted.errors, "kept": fitted.kept,
            "seconds": took, "table": "", "fitted": fitted}  # fmt: skip


def with_table(row: dict[str, Any], table: Sensor | None) -> dict[str, Any]:
    """Return a row with the mean difference of elevations from a table."""
    fitted: FittedSensor = row["fitted"]
    if table is None:
        return row
    return {**row, "table": f"{np.abs(row_differences(fitted.sensor, table)).mean():.3f} on average"}


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("COSMOS_LIDAR_TEST_DATA", "nowhere"),
                        help="folder of recordings (default: $COSMOS_LIDAR_TEST_DATA)")  # fmt: skip
    parser.add_argument("--sweeps", type=int, default=2, help="constructed ones (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    args = parser.parse_args()
    logger.setLevel("ERROR")
    rows = [*constructed_rows(args.data, args.sweeps), *recorded_rows(args.data)]
    if args.json:
        found = [{**{name: value for name, value in row.items() if name not in ("fitted", "errors")},
                  "errors": asdict(row["errors"])} for row in rows]  # fmt: skip
        sys.stdout.write(json.dumps({"rows": found}, indent=1) + "\n")
        return 0
    out = [f"numpy {np.__version__}, {platform.machine()}, CPU seconds", ""]
    out += ["| " + " | ".join(HEADINGS) + " |", "|---" * len(HEADINGS) + "|"]
    for row in rows:
        one = row["errors"]
        kept = "" if np.isnan(row["kept"]) else f"{row['kept']:.1%}"
        cells = (row["lidar"], row["known"], row["found"], f"{one.mean_deg:.4f}", f"{one.median_deg:.4f}",
                 f"{one.p95_deg:.4f}", kept, row["table"], f"{row['seconds']:.1f}")  # fmt: skip
        out.append("| " + " | ".join(cells) + " |")
    sys.stdout.write("\n".join(out) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
