"""Rate and memory of every reader and writer of clips on one core, beside the decoder of its format alone.

    OMP_NUM_THREADS=1 python benchmarks/clips.py [--formats waymo …] [--layouts ply …] [--data FOLDER] [--json]
    OMP_NUM_THREADS=1 python benchmarks/clips.py --plan [--clips 100000] [--clip-seconds 20] [--cores 256] [--json]

``--plan`` prints disk, core-hours and shards of many clips by the rates of this run instead (:mod:`clips_plan`).

Readers and writers are those that their packages list. A reader reads a synthetic street in its layout and in the size
of the dataset (``benchmarks/recordings/NAME.py``); one without such a file reads the small sample of its tests, which
the table marks. With ``--data``, or COSMOS_LIDAR_TEST_DATA, the folders of real recordings there are read as well.
Writers write sweeps of 128 x 3600 that are in memory, without and with a camera of 1280 x 720; ``shards`` is what
`prepare` does, with its index.

Rates are of CPU time of one process, the best of some rounds; files are in the page cache. The decoder does its part
of the same work in turn with the reader, on bytes in memory: zlib, Draco, JPEG, Arrow and so on, or reading the file
where there is nothing to decode; that of a writer is writing as many bytes. ``x`` is the time of the reader over the
decoder's. MB/s are of what is returned, or of the files that are written. Memory is the peak of the process during the
third read above what it had before, returned arrays included, and the ratio to these arrays (of a writer: to one sweep
and image); it counts pages, so that sweeps below a megabyte look larger than they are.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib
import importlib.util
import json
import math
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from host import forget_resident_peak, processor, resident_peak_mib
from tables import row, table_head

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(1, str(ROOT))  # the encoders of the tests

from recordings.street import Read, Street, decode_jpeg, plain_reads  # noqa: E402

from cosmos_lidar.clips import Clip, find_readers, open_clips  # noqa: E402
from cosmos_lidar.clips.convert import find_writers  # noqa: E402
from cosmos_lidar.clips.recognition import Strength  # noqa: E402
from cosmos_lidar.clips.sweep import RETURN_VALUES  # noqa: E402
from cosmos_lidar.clips.writers._contract import WriteOptions  # noqa: E402
from cosmos_lidar.errors import DataError, UserError  # noqa: E402
from cosmos_lidar.log import logger  # noqa: E402
from cosmos_lidar.synth import pinhole_rig, synthesize_drive  # noqa: E402

SMALL = 1 / 8  # share of rows and columns with --small
SHARDS = "shards"  # what `prepare` writes, no writer of clips
_MMAP_THRESHOLD = -3  # of mallopt(3)
HEADINGS = ("what", "points", "MB", "frames/s", "MB/s", "decoder", "x", "peak MB", "x")


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        name: of the reader or writer.
        what: it reads or writes.
        points: returns per frame; 0 for images.
        megabytes: of the arrays of a frame.
        frames_per_s: rate.
        megabytes_per_s: of arrays that are returned, or of files that are written.
        decoder: what its floor is.
        ratio: time over that of the decoder.
        peak_megabytes: above the memory before.
        peak_ratio: to ``megabytes``.
    """

    name: str
    what: str
    points: int
    megabytes: float
    frames_per_s: float
    megabytes_per_s: float
    decoder: str
    ratio: float
    peak_megabytes: float
    peak_ratio: float


def arrays_of(found: Any) -> Iterator[np.ndarray]:
    """Yield the arrays of a sweep, both returns, or an image."""
    if isinstance(found, np.ndarray):
        yield found
        return
    for name in ("range_m", "points", "returns", *RETURN_VALUES):
        if getattr(found, name) is not None:
            yield getattr(found, name)
    if found.second_return is not None:
        yield from arrays_of(found.second_return)


def size_of(found: Any) -> int:
    """Return the bytes of the arrays of a sweep or an image."""
    return sum(array.nbytes for array in arrays_of(found))


def returns_of(found: Any) -> int:
    """Return the number of returns of a sweep, 0 of an image."""
    if isinstance(found, np.ndarray):
        return 0
    own = len(found.points) if found.range_m is None else int(np.count_nonzero(found.range_m))
    return own + (0 if found.second_return is None else returns_of(found.second_return))


def best_of(works: tuple[Callable[[], object], ...], seconds: float) -> list[float]:
    """Return the shortest time of each of some works, which take turns for so many seconds, 3 rounds at least."""
    best = [math.inf] * len(works)
    started = time.process_time()
    for number in count():
        if number > 2 and time.process_time() - started > seconds:
            return best
        for place, work in enumerate(works):
            before = time.process_time()
            work()
            best[place] = min(best[place], time.process_time() - before)
    return best


class MemoryMeter:
    """Measures how far the memory of a process rises, each time in a new process.

    Those processes come from one that is started before anything large is in memory, and in which the C library gives
    arrays back to the system when they are freed: each array counts once, as it is.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other,))  # no daemon: Energon's index starts processes
        self._process.start()

    def peak_bytes(self, first: Callable[[], object], second: Callable[[], object]) -> int:
        """Return the peak during ``second``, after ``first`` has filled the caches; both can be pickled.

        Raises:
            SystemExit: one of them failed.
        """
        self._pipe.send((first, second))
        peak = self._pipe.recv()
        if peak is None:
            raise SystemExit("the process failed whose memory is measured: its error is above")
        return peak

    def close(self) -> None:
        """End the process."""
        self._pipe.send(None)
        self._process.join()


def _serve(pipe: Connection) -> None:
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # read when pyarrow is imported
    ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 1 << 16)
    while works := pipe.recv():
        child = os.fork()
        if child == 0:
            try:
                pipe.send(_peak_here(*works))
                os._exit(0)
            finally:
                os._exit(1)
        if os.waitpid(child, 0)[1]:
            pipe.send(None)


def _peak_here(first: Callable[[], object], second: Callable[[], object]) -> int:
    first()
    first()
    gc.collect()
    before = forget_resident_peak()
    kept = second()  # still there when the peak is read
    peak = resident_peak_mib() - before
    del kept
    return int(peak * 2**20)


# --- readers


def recording_of(name: str, root: Path, street: Street) -> tuple[list[Clip], ModuleType | None]:
    """Write a recording in the layout of a reader and open it; without a module for it, the sample of its tests.

    Raises:
        ModuleNotFoundError: a package is not installed.
    """
    module = None
    if importlib.util.find_spec(f"recordings.{name}") is not None:
        module = importlib.import_module(f"recordings.{name}")
        path = module.write(root, street)
        several = find_readers()[name].recognise(path) == Strength.NONE
        return [
            clip for one in (sorted(path.iterdir()) if several else [path]) for clip in open_clips(one, name)
        ], module
    tests = importlib.import_module(f"tests.clips.readers.test_{name}")
    return open_clips(tests.write_sample(root), format=name), None


def reader_rows(name: str, street: Street, seconds: float, meter: MemoryMeter) -> Iterator[Row]:
    """Yield the measurements of a reader on a synthetic street."""
    with tempfile.TemporaryDirectory() as folder:
        clips, module = recording_of(name, Path(folder), street)
        seen = set()
        for clip in clips:
            found = plain_reads(clip) if module is None or not hasattr(module, "reads") else module.reads(clip)
            for read in found:
                what = f"{read.what}, small sample" if module is None else read.what
                if what not in seen:  # two clips of one recording are alike
                    seen.add(what)
                    yield read_row(name, read._replace(what=what), seconds, meter)


def real_rows(data: Path, seconds: float, meter: MemoryMeter) -> Iterator[Row]:
    """Yield the measurements of the main lidar and the first camera of each real recording below a folder."""
    for folder in sorted(path for path in data.iterdir() if path.is_dir()):
        try:
            clips = open_clips(folder)
            for read in [*_first(clips, "lidars"), *_first(clips, "cameras")]:
                yield read_row(f"{folder.name} ({clips[0].format})", read, seconds, meter)
        except (DataError, UserError) as error:
            logger.info("%s is left out: %s", folder.name, error)


def _first(clips: list[Clip], kind: str) -> list[Read]:
    clip = next((one for one in clips if getattr(one, kind)), None)
    if clip is None:
        return []
    if kind == "lidars":
        return plain_reads(clip)
    camera = next(iter(clip.cameras.values()))
    image = camera.read(0)
    if not hasattr(camera.read, "files"):
        return [Read(camera.name, camera.read, len(camera), lambda index: image.copy(), "copy")]
    contents = [file.read_bytes() for file in camera.read.files[:2]]
    return [Read(camera.name, camera.read, len(contents), lambda index: decode_jpeg(contents[index]), "JPEG")]


def read_row(name: str, read: Read, seconds: float, meter: MemoryMeter) -> Row:
    """Measure one thing that a reader reads."""
    found = [read.read(index) for index in range(read.frames)]
    points = round(np.mean([returns_of(one) for one in found]))
    megabytes = np.mean([size_of(one) for one in found]) / 1e6
    del found
    everything = range(read.frames)
    works = (lambda: _drain(read.read, everything), lambda: _drain(read.floor, everything))
    took, floor = best_of(works, seconds)
    last = read.frames - 1
    peak = meter.peak_bytes(partial(read.read, 0), partial(read.read, last))
    rate = read.frames / took
    return Row(name, read.what, points, megabytes, rate, rate * megabytes, read.decoder, took / floor,
               peak / 1e6, peak / 1e6 / megabytes)  # fmt: skip


def _drain(read: Callable[[int], object], numbers: range) -> None:
    for number in numbers:
        read(number)


# --- writers


@dataclass(frozen=True)
class Kept:
    """``read`` of a stream whose frames are in memory."""

    frames: list[Any]

    def __call__(self, index: int) -> Any:
        """Return frame ``index``."""
        return self.frames[index]


def clip_to_write(street: Street, cameras: bool) -> Clip:
    """Return a clip whose frames are in memory, with a camera of 1280 x 720 or without."""
    sensor = street.sensor("pandar128")
    width, height = (round(side * street.share / 2) * 2 for side in (1280, 720))
    rig = pinhole_rig(("front",), width, height) if cameras else ()
    clip = synthesize_drive(5, sensor, street.frames, cameras=rig)
    kept = {}
    for name, camera in clip.cameras.items():
        images = [decode_jpeg(street.jpeg(1280, 720, number % 2))[:height, :width] for number in range(len(camera))]
        kept[name] = replace(camera, read=Kept(images))
    return replace(clip.with_lidar(read=Kept(street.sweeps(sensor))), clip_id="street", cameras=kept)


def writer_rows(name: str, street: Street, seconds: float, meter: MemoryMeter) -> Iterator[Row]:
    """Yield the measurements of a writer: of a lidar, and of a lidar with a camera where it holds images."""
    holds = frozenset[str]() if name == SHARDS else find_writers()[name].HOLDS
    for cameras in (False, True) if "images" in holds else (False,):
        clip = clip_to_write(street, cameras)
        try:
            yield write_row(name, clip, seconds, meter)
        except DataError as error:
            logger.info("%s of %s: %s", name, "a camera" if cameras else "a lidar alone", error)


def write_one(name: str, clip: Clip, place: Path) -> None:
    """Write a clip to a folder, once more where it is there already."""
    if name == SHARDS:
        from cosmos_lidar.shards.plan import PrepareOptions
        from cosmos_lidar.shards.prepare import prepare_shards

        prepare_shards([clip], place, PrepareOptions(split=(1.0, 0.0, 0.0), frames_per_sample=len(clip)))
        return
    writer = find_writers()[name]
    place.mkdir(exist_ok=True)
    if hasattr(writer, "begin"):
        writer.begin([clip], place)
    writer.write_clip(clip, place, WriteOptions(caption="A street."), lambda frames: None)


def write_row(name: str, clip: Clip, seconds: float, meter: MemoryMeter) -> Row:
    """Measure a writer on a clip.

    Raises:
        DataError: the layout requires what the clip lacks.
    """
    sweep = clip.lidar.read(0)
    size = size_of(sweep) + sum(size_of(camera.read(0)) for camera in clip.cameras.values())
    with tempfile.TemporaryDirectory() as folder:
        root, numbers = Path(folder), count()

        write_one(name, clip, root / "first")
        contents = [file.read_bytes() for file in sorted((root / "first").rglob("*")) if file.is_file()]

        def write_bytes() -> None:
            place = root / f"{next(numbers)}"
            place.mkdir()
            for number, content in enumerate(contents):
                (place / str(number)).write_bytes(content)

        works = (lambda: write_one(name, clip, root / f"{next(numbers)}"), write_bytes)
        took, floor = best_of(works, seconds)
        write = partial(write_one, name, clip)
        peak = meter.peak_bytes(partial(write, root / "again"), partial(write, root / "measured"))
    written = sum(map(len, contents)) / 1e6
    what = " + ".join(["lidar", *(f"camera {one.read(0).shape[1]}" for one in clip.cameras.values())])
    return Row(name, what, returns_of(sweep), size / 1e6, len(clip) / took, written / took, "file", took / floor,
               peak / 1e6, peak / size)  # fmt: skip


# --- tables


def measured(names: list[str], rows: Callable[..., Iterator[Row]], *given: Any) -> Iterator[Row]:
    """Yield the rows of some readers or writers; those whose extra is not installed are named and left out."""
    for name in names:
        try:
            yield from rows(name, *given)
        except (ModuleNotFoundError, UserError) as error:
            logger.error("%s is not measured: %s", name, error)


def print_table(title: str, rows: Iterator[Row]) -> None:
    """Print Markdown, each row when it is measured."""
    head = "\n" + table_head(title, *HEADINGS)  # only where there are rows
    for one in rows:
        cells = (one.name, one.what, f"{one.points:,}" if one.points else "", f"{one.megabytes:.1f}",
                 f"{one.frames_per_s:.1f}", f"{one.megabytes_per_s:.0f}", one.decoder, f"{one.ratio:.2f}",
                 f"{one.peak_megabytes:.1f}", f"{one.peak_ratio:.2f}")  # fmt: skip
        sys.stdout.write(head + row(*cells))
        sys.stdout.flush()
        head = ""


def print_plan(args: argparse.Namespace) -> int:
    """Measure what the plan needs, and print it."""
    from clips_plan import Job, measure, plan_rows

    job = Job(args.clips, args.clip_seconds, cores=args.cores)
    found = measure(Street(max(args.frames, 12), SMALL if args.small else 1.0), args.seconds)
    rows = plan_rows(found, job)
    if args.json:
        sys.stdout.write(json.dumps({"machine": machine(), **vars(found), "plan": rows}, indent=1) + "\n")
    else:
        title = f"{job.clips:,} clips of {job.seconds:g} s"
        sys.stdout.write(f"{machine()}; {time.strftime('%Y-%m-%d')}\n\n" + table_head("", "per sweep", title))
        sys.stdout.write("".join(row(*cells) for cells in rows))
    return 0


def machine() -> str:
    """Return processor and versions."""
    return f"{processor()}, one core, numpy {np.__version__}, Python {platform.python_version()}"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formats", nargs="*", metavar="NAME", help="readers (default: all)")
    parser.add_argument("--layouts", nargs="*", metavar="NAME", help="writers (default: all)")
    parser.add_argument("--data", default=os.environ.get("COSMOS_LIDAR_TEST_DATA", ""), metavar="FOLDER",
                        help="of real recordings, or '' for none (default: $COSMOS_LIDAR_TEST_DATA)")  # fmt: skip
    parser.add_argument("--frames", type=int, default=3, help="sweeps per recording (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each row (default %(default)s)")
    parser.add_argument("--plan", action="store_true", help="print the plan of a conversion of many clips instead")
    parser.add_argument("--clips", type=int, default=100_000, help="of the plan (default %(default)s)")
    parser.add_argument("--clip-seconds", type=float, default=20.0, help="of the plan (default %(default)s)")
    parser.add_argument("--cores", type=int, default=256, help="of the plan (default %(default)s)")
    parser.add_argument("--small", action="store_true", help="sensors of an eighth of the rows and columns")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    args = parser.parse_args()
    logger.setLevel("ERROR")
    if args.plan:
        return print_plan(args)
    meter, street = MemoryMeter(), Street(args.frames, SMALL if args.small else 1.0)
    given = (street, args.seconds, meter)
    tables = {
        "reader": measured(sorted(find_readers()) if args.formats is None else args.formats, reader_rows, *given),
        "writer": measured(
            [*sorted(find_writers()), SHARDS] if args.layouts is None else args.layouts, writer_rows, *given
        ),
        "recording": real_rows(Path(args.data), args.seconds, meter) if args.data else iter(()),
    }
    try:
        if args.json:
            found = {f"{title}s": [vars(row) for row in rows] for title, rows in tables.items()}
            sys.stdout.write(json.dumps({"machine": machine(), **found}, indent=1) + "\n")
        else:
            sys.stdout.write(f"{machine()}; {time.strftime('%Y-%m-%d')}\n")
            for title, rows in tables.items():
                print_table(title, rows)
    finally:
        meter.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
