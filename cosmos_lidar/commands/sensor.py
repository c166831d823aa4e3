"""`cosmos-lidar sensor`: fit a sensor file to raw sweeps; show and convert sensor files."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_lidar.arguments import out_file, whole
from cosmos_lidar.commands._arguments import add_lidar_argument

if TYPE_CHECKING:
    from cosmos_lidar.clips import LidarStream, Sweep
    from cosmos_lidar.sensors import Sensor
    from cosmos_lidar.sensors.fit import AngularErrors, FittedSensor

GROUP = "data"
HELP = "fit a sensor file (beams, azimuth grid, direction, range) to raw sweeps; show and convert sensor files"
EXAMPLE = "cosmos-lidar sensor fit ~/data/my_drive --frames 10 --out my_lidar.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    fit = verbs.add_parser("fit", help="estimate the sensor file of a spinning lidar from its sweeps")
    fit.add_argument(
        "sweeps", nargs="+", type=Path, metavar="SWEEP", help="files or folders of recordings of one lidar"
    )
    fit.add_argument("--format", metavar="NAME", help="reader, if it is not recognized")
    add_lidar_argument(fit)
    fit.add_argument("--frames", type=whole(1), default=10, metavar="N", help="sweeps used, spread evenly (default 10)")
    fit.add_argument("--name", default="fitted", help="name of the sensor (default %(default)s)")
    fit.add_argument("--out", type=out_file, metavar="FILE", help="sensor file to write (.yaml, or .json for NCore)")
    fit.add_argument("--rows", type=whole(1), metavar="N", help="number of beams, where it is known; checked")
    fit.add_argument(
        "--per_turn", "--per-turn", type=whole(1), metavar="N", help="columns per turn (default: as the lidar fires)"
    )
    fit.add_argument("--direction", choices=("cw", "ccw"), help="of the columns (default: as the lidar turns)")
    fit.add_argument(
        "--at_origin", "--at-origin", action="store_true",
        help="write the sensor for points moved to the beams' common origin, where that is another one",
    )  # fmt: skip
    fit.add_argument("--compare", metavar="NAME_OR_FILE", help="sensor whose elevations to compare with")
    fit.add_argument(
        "--map", metavar="ROWSxCOLUMNS",
        help="no fit: an evenly spaced grid over the field of view, for lidars that do not spin",
    )  # fmt: skip
    fit.add_argument("--json", action="store_true", help="write a JSON document instead of text")
    show = verbs.add_parser("show", help="show a sensor, or convert it between sensor file (YAML) and NCore (json)")
    show.add_argument("sensor", metavar="NAME_OR_FILE", help="shipped name, sensor file (YAML), or NCore model (json)")
    show.add_argument("--to", choices=("yaml", "json"), help="print the whole sensor in this format")
    show.add_argument("--out", type=out_file, metavar="FILE", help="write it to a file instead")


def run(args: argparse.Namespace) -> int:
    """Fit or show a sensor."""
    return _fit(args) if args.verb == "fit" else _show(args)


def _fit(args: argparse.Namespace) -> int:
    from cosmos_lidar.errors import DataError
    from cosmos_lidar.log import logger
    from cosmos_lidar.sensors.fit import fit_sensor, row_differences, uniform_fit

    sweeps, spin_hz, notes = _read_sweeps(args)
    try:
        if args.map:
            logger.warning("--map: an evenly spaced grid, not the scan of this lidar; points kept shows what it costs")
            fitted = uniform_fit(sweeps, _shape(args.map), args.name, spin_hz)
        else:
            way = None if args.direction is None else args.direction == "cw"
            options = {"rows": args.rows, "columns": args.per_turn, "clockwise": way, "spin_hz": spin_hz}
            fitted = fit_sensor(sweeps, args.name, **options)
    except DataError as error:
        wanted = f"{error.wanted}; or --map ROWSxCOLUMNS for an evenly spaced grid"
        raise error.at(file=args.sweeps[0], wanted=wanted) from error
    fitted = replace(fitted, notes=(*notes, *fitted.notes))
    sensor = fitted.sensor_at_origin if args.at_origin and fitted.sensor_at_origin is not None else fitted.sensor
    report = fitted.to_dict()
    if args.compare:
        apart = row_differences(sensor, _load(args.compare))
        report["compared"] = {"with": args.compare, "mean_deg": float(abs(apart).mean()), "rows_deg": apart.tolist()}
    if args.out:
        _write(sensor, args.out)
    sys.stdout.write(json.dumps(report, indent=1) + "\n" if args.json else _report(fitted, report, args))
    return 0


def _shape(text: str) -> tuple[int, int]:
    from cosmos_lidar.errors import UserError

    rows, _, columns = text.partition("x")
    if not (rows.isdecimal() and columns.isdecimal() and 1 < int(rows) <= 4096 and 1 < int(columns) <= 65536):
        raise UserError(f"--map {text}: expected ROWSxCOLUMNS, such as 64x1024")
    return int(rows), int(columns)


def _read_sweeps(args: argparse.Namespace) -> tuple[list[Sweep], float, list[str]]:
    """Return sweeps as the lidar saw them, their rate, and remarks."""
    from cosmos_lidar.clips import open_clips

    streams = []
    for path in args.sweeps:
        clips = open_clips(path, args.format, lidar=args.lidar, columns=args.columns)
        streams += [clip.lidar for clip in clips]
    every = [(stream, index) for stream in streams for index in range(len(stream))]
    count = min(args.frames, len(every))
    chosen = [every[round((number + 0.5) * len(every) / count - 0.5)] for number in range(count)]
    notes = list(dict.fromkeys(_notes(streams)))
    rates = [rate for stream in streams if (rate := stream.rate_hz) is not None]
    return [_as_seen(*one) for one in chosen], float(round(rates[0])) if rates else streams[0].sensor.spin_hz, notes


def _notes(streams: list[LidarStream]) -> Iterator[str]:
    for stream in streams:
        if stream.motion_compensated and stream.motion(0) is None:
            yield "points are taken to be motion-compensated, and without poses stay so"
        elif stream.motion_compensated:
            yield "motion compensation undone by the poses"


def _as_seen(stream: LidarStream, index: int) -> Sweep:
    sweep = stream.read(index)
    motion = stream.motion(index) if stream.motion_compensated and sweep.points is not None else None
    if motion is None or sweep.points is None:
        return sweep
    return replace(sweep, points=motion.as_seen(sweep.points, sweep.time_us))


def _report(fitted: FittedSensor, report: dict, args: argparse.Namespace) -> str:
    import numpy as np

    sensor = fitted.sensor
    offsets = np.degrees(sensor.row_azimuth_offsets_rad)
    turn = "clockwise" if sensor.clockwise else "counter-clockwise"
    locked = "the same turn after turn" if fitted.locked else "other ones in every turn"
    lines = [
        f"{sensor.name}: {sensor.rows} beams by {fitted.beams_by}, {_elevations(sensor)}",
        f"columns: {sensor.columns} in {np.degrees(sensor.field_of_view_rad):.4g} degrees, {turn} by "
        f"{fitted.direction_by}; azimuths are {locked} (concentration {fitted.concentration:.2f})",
        f"azimuth offsets: {offsets.min():.3f} to {offsets.max():.3f} degrees; ranges up to {sensor.max_range_m:g} m",
        f"angular error beyond 20 m: {_errors(fitted.errors)}",
        f"points kept: {fitted.kept:.2%} of {fitted.points} in {fitted.sweeps} sweeps",
    ]
    if fitted.from_origin is not None:
        lines.append(
            f"the beams' common origin is {fitted.origin_m:.3f} m above that of the points; from there, the error is "
            f"{_errors(fitted.from_origin)} (--at_origin writes that sensor)"
        )
    if "compared" in report:
        lines.append(f"elevations against {args.compare}: mean difference {report['compared']['mean_deg']:.3f} degrees")
    lines += [f"note: {note}" for note in fitted.notes]
    if args.out:
        lines.append(f"written: {args.out}")
    return "\n".join(lines) + "\n"


def _errors(errors: AngularErrors) -> str:
    return (
        f"mean {errors.mean_deg:.4f}, median {errors.median_deg:.4f}, p95 {errors.p95_deg:.4f} degrees "
        f"({errors.points} points)"
    )


def _elevations(sensor: Sensor) -> str:
    import numpy as np

    top, bottom = np.degrees(sensor.row_elevations_rad[[0, -1]])
    return f"elevations {top:.3f} to {bottom:.3f} degrees"


def _show(args: argparse.Namespace) -> int:
    import numpy as np

    sensor = _load(args.sensor)
    if args.out:
        _write(sensor, args.out, args.to)
    elif args.to:
        sys.stdout.write(_text(sensor, args.to))
    else:
        turn = "clockwise" if sensor.clockwise else "counter-clockwise"
        offsets = np.degrees(sensor.row_azimuth_offsets_rad)
        sys.stdout.write(
            f"{sensor.name}: {sensor.rows} x {sensor.columns}, {_elevations(sensor)}\n"
            f"field of view {np.degrees(sensor.field_of_view_rad):.4g} degrees from azimuth "
            f"{np.degrees(sensor.first_azimuth_rad):.4g}, {turn}, {sensor.spin_hz:g} Hz\n"
            f"azimuth offsets {offsets.min():.3f} to {offsets.max():.3f} degrees\n"
            f"ranges up to {sensor.max_range_m:g} m; fingerprint {sensor.fingerprint()}\n"
        )
    return 0


def _load(name: str) -> Sensor:
    from cosmos_lidar.bounds import read_file
    from cosmos_lidar.errors import DataError
    from cosmos_lidar.files import parse_json
    from cosmos_lidar.sensors import load_sensor
    from cosmos_lidar.sensors.structured_model import sensor_of_model

    path = Path(name)
    if path.suffix != ".json" or not path.is_file():
        return load_sensor(name)
    try:
        document = parse_json(read_file(path, "a lidar model", 1 << 24))
    except ValueError as error:
        raise DataError(f"not a JSON file: {error}", file=path, wanted="an NCore structured lidar model") from error
    return sensor_of_model(document, path.stem, path)


def _text(sensor: Sensor, to: str) -> str:
    from cosmos_lidar.sensors.structured_model import model_of_sensor

    return sensor.to_yaml() if to == "yaml" else json.dumps(model_of_sensor(sensor), indent=1) + "\n"


def _write(sensor: Sensor, path: Path, to: str | None = None) -> None:
    """Write a sensor in a format, by default that of the file's ending."""
    from cosmos_lidar.files import atomic_write

    with atomic_write(path) as part:
        part.write_text(_text(sensor, to or ("json" if path.suffix == ".json" else "yaml")), encoding="utf-8")
