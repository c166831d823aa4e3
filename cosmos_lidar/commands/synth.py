"""``cosmos-lidar synth``: a dataset of synthetic drives in the published release layout."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

from cosmos_lidar.arguments import out_folder
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.log import logger
from cosmos_lidar.workers import end_with_parent

if TYPE_CHECKING:
    from cosmos_lidar.clips import Clip

GROUP = "data"
HELP = "make synthetic drives (lidar, cameras, poses, labels) in the published release layout"
EXAMPLE = "cosmos-lidar synth drives --drives 8 --frames 50 --sensor pandar128 --cameras front,left,right --seed 1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("out", type=out_folder, metavar="OUT", help="dataset folder; complete drives in it are kept")
    parser.add_argument("--drives", type=int, default=8, help="number of drives (default 8)")
    parser.add_argument("--frames", type=int, default=50, help="sweeps per drive, 10 per second (default 50)")
    parser.add_argument(
        "--sensor", default="pandar128", help="name of an included sensor, or a sensor file (default pandar128)"
    )
    parser.add_argument(
        "--second-lidar", metavar="NAME_OR_FILE", help="sensor of a lidar on the front bumper, written to lidars/bumper"
    )
    parser.add_argument(
        "--cameras", default="",
        help="comma-separated: front, left, right; or surround: five pinhole cameras as Waymo has them (default: none)",
    )  # fmt: skip
    parser.add_argument("--lens", choices=("ftheta", "pinhole"), default="ftheta", help="camera model (default ftheta)")
    parser.add_argument(
        "--fov", type=float, default=80.0, help="horizontal field of view of pinhole cameras, degrees (default 80)"
    )
    parser.add_argument(
        "--width", type=int, default=960, help="width of the images, 16:9 (default 960; published 1920)"
    )
    parser.add_argument(
        "--images-per-sweep",
        "--pictures-per-sweep",
        dest="images_per_sweep",
        type=int,
        default=1,
        help="images per camera and sweep (default 1; published 3)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the first drive; each drive has its own (default 0)"
    )
    parser.add_argument("--exact", action="store_true", help="no range noise and no lost returns")
    parser.add_argument("--jobs", type=int, default=1, help="worker processes (default 1; 0: one per core)")


def run(args: argparse.Namespace) -> int:
    """Write the drives; returns the exit status."""
    from cosmos_lidar.progress import Meter

    _check(args)
    make_drive(args, args.seed)  # refuses unknown sensors and cameras before anything is written
    seeds = range(args.seed, args.seed + args.drives)
    resumed = (args.out / "lidar").is_dir()  # comparing drives builds their streets, which is slow
    missing = [seed for seed in seeds if not (resumed and _is_complete(args, seed))]
    args.out.mkdir(parents=True, exist_ok=True)
    with Meter("synth", "frames", len(missing) * args.frames) as meter:
        jobs = min(args.jobs or len(os.sched_getaffinity(0)), max(len(missing), 1))
        if jobs == 1:
            for seed in missing:
                write_drive(args, seed, meter.advance)
        else:
            _in_processes(args, missing, jobs, meter.advance)
    kept = args.drives - len(missing)
    sys.stdout.write(f"{len(missing)} drives written to {args.out}" + (f", {kept} existed\n" if kept else "\n"))
    return 0


def make_drive(args: argparse.Namespace, seed: int) -> Clip:
    """Return the synthetic drive of the options.

    Raises:
        UserError: a sensor or camera that does not exist.
    """
    from cosmos_lidar.sensors.sensor import load_sensor
    from cosmos_lidar.synth import Noise, bumper_lidar, ftheta_rig, pinhole_rig, surround_rig, synthesize_drive

    views = tuple(view.strip() for view in args.cameras.split(",") if view.strip())
    if views == ("surround",):
        rig = surround_rig(args.width)
    else:
        pinhole = args.lens == "pinhole"
        rig = pinhole_rig(views, args.width, fov_deg=args.fov) if pinhole else ftheta_rig(views, args.width)
    noise = None if args.exact else Noise()
    sensor = load_sensor(args.sensor)
    lidars = [bumper_lidar(load_sensor(args.second_lidar))] if args.second_lidar else []
    return synthesize_drive(
        seed, sensor, args.frames, cameras=rig, noise=noise, images_per_sweep=args.images_per_sweep, lidars=lidars
    )


def write_drive(args: argparse.Namespace, seed: int, advance: Callable[[int], None] | None = None) -> int:
    """Write drive ``seed`` and return it; ``advance(1)`` is called after each sweep."""
    from cosmos_lidar.clips.writers.release import write_release

    clip = make_drive(args, seed)

    def read_sweep(index: int) -> object:
        sweep = clip.read_sweep(index)
        if advance is not None:
            advance(1)
        return sweep

    try:
        write_release(args.out, clip.with_lidar(read=read_sweep))
    except OSError as error:
        raise UserError(f"cannot write drive {seed} to {args.out}: {error.strerror or error}") from error
    return seed


def _in_processes(args: argparse.Namespace, seeds: list[int], jobs: int, advance: Callable[[int], None]) -> None:
    import multiprocessing

    write_drive(args, seeds[0], advance)  # first alone: it sets the sensor of the folder
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=end_with_parent) as pool:
        futures = [pool.submit(write_drive, args, seed) for seed in seeds[1:]]
        try:
            for future in as_completed(futures):
                future.result()
                advance(args.frames)
        except BrokenProcessPool as error:
            raise UserError(
                "a worker process was killed (out of memory?): use fewer --jobs; finished drives are kept"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _is_complete(args: argparse.Namespace, seed: int) -> bool:
    """Whether this drive exists with these lidars and cameras; a drive of other options has another id."""
    from cosmos_lidar.clips import open_clips

    clip = make_drive(args, seed)
    file = args.out / "lidar" / f"{clip.clip_id}.tar"
    if not file.is_file():
        return False
    try:
        (there,) = open_clips(file, "release")
        lidars = len(there) == len(clip) and all(_same_lidar(clip, there, name) for name in clip.lidars)
        return lidars and all(_same_camera(clip, there, name) for name in clip.cameras)
    except DataError as error:
        logger.info("drive %d is generated again: %s", seed, error)
        return False


def _same_lidar(wanted: Clip, there: Clip, name: str) -> bool:
    if name not in there.lidars:
        return False
    a, b = wanted.lidars[name], there.lidars[name]
    return len(a) == len(b) and a.sensor.fingerprint() == b.sensor.fingerprint()


def _same_camera(wanted: Clip, there: Clip, name: str) -> bool:
    if name not in there.cameras:
        return False
    import numpy as np

    a, b = wanted.cameras[name], there.cameras[name]
    if a.model is None or b.model is None:
        return False
    corner = np.zeros(2)
    same_lens = np.allclose(a.model.unproject(corner), b.model.unproject(corner), atol=1e-4)
    return len(a) == len(b) and (a.model.width, a.model.height) == (b.model.width, b.model.height) and same_lens


def _check(args: argparse.Namespace) -> None:
    for option in ("drives", "frames", "images_per_sweep"):
        if getattr(args, option) < 1:
            raise UserError(f"--{option.replace('_', '-')} {getattr(args, option)}: must be at least 1")
    if args.seed < 0 or args.jobs < 0:
        raise UserError(f"--seed {args.seed} --jobs {args.jobs}: must not be negative")
    if args.width < 64 or args.width > 7680:
        raise UserError(f"--width {args.width}: valid: 64 to 7680 pixels")
    if not 10 <= args.fov <= 170:
        raise UserError(f"--fov {args.fov:g}: valid: 10 to 170 degrees")
    if args.out.exists() and not args.out.is_dir():
        raise UserError(f"{args.out} is a file: expected a folder")
