"""Codings of range images compared: the same network, drives and fit, published coding and coding with validity.

    OMP_NUM_THREADS=1 python benchmarks/range_codings.py lidar kitti=PATH nuscenes=PATH

Networks and fit are those of ``small_models/range_tokenizer.py``. Scored are held-out synthetic drives and recordings,
which nothing is fitted to, in the demo's image format; returns are those that a tokenizer decodes. Printed are a table,
the ratio of each column, and the expected error beside the measured one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from host import processor

sys.path.insert(0, str(Path(__file__).parent / "small_models"))
from common import held_out_seeds, train_seeds  # noqa: E402
from lidar_scores import COLUMNS, Row, calibration, score_clips, synthetic_clips, table  # noqa: E402
from lidar_sweeps import cast_drives  # noqa: E402
from range_tokenizer import add_fit_arguments, fitted  # noqa: E402

from cosmos_lidar.clips import Clip, open_clips  # noqa: E402
from cosmos_lidar.demo.recordings import small_images  # noqa: E402

CODINGS = ("published", "validity")


def recordings(path: Path, format: str) -> list[Clip]:
    """Return recordings in the demo's image format."""
    return [clip.with_lidar(sensor=small_images(clip.sensor)) for clip in open_clips(path, format)]


def ratios(rows: list[Row]) -> str:
    """Return each column of the coding with validity, divided by that of the published one, by data."""
    lines = []
    for data in dict.fromkeys(row.data for row in rows):
        first, second = (next(row for row in rows if (row.data, row.name) == (data, name)) for name in CODINGS)
        shown = ", ".join(f"{name} {second.values[name] / first.values[name]:.3f}" for name in COLUMNS)
        lines.append(f"{data}, validity / published: {shown}")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Cast, fit, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_fit_arguments(parser)
    parser.add_argument("recordings", nargs="*", metavar="FORMAT=PATH", help="recordings to score, too")
    parser.add_argument("--max-error", type=float, default=3.0, metavar="M", help="expected error that is cut off")
    args = parser.parse_args()
    drives = cast_drives(args.folder / "drives", train_seeds(args.train), args.jobs)
    networks = {coding: fitted(coding, drives, args.iterations, args.seed) for coding in CODINGS}
    seeds = held_out_seeds(args.held_out)
    data = {f"{len(seeds)} synthetic drives": synthetic_clips(seeds)}
    for format, _, path in (text.partition("=") for text in args.recordings):
        data[format] = recordings(Path(path), format)
    rows = [row for name, clips in data.items() for row in score_clips(name, networks, clips, args.max_error)]
    sys.stdout.write(f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}, fp32\n\n")
    sys.stdout.write(f"{table(rows)}\n{ratios(rows)}\n")
    pairs = calibration(networks["validity"], next(iter(data.values())))
    shown = ", ".join(f"{expected:.3f} / {measured:.3f}" for expected, measured in pairs)
    sys.stdout.write(f"expected / measured error in meters, tenths of the pixels by expected error: {shown}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
