"""Segmentation of synthetic drives with few labels: from scratch, and from backbones that were pre-trained without.

    OMP_NUM_THREADS=1 python benchmarks/also_proof.py proof     # renders, pre-trains, fine-tunes, prints a table

A small MinkUNet18 is pre-trained on all sweeps by occupancy (ALSO), by the contrast of two scans (BEVContrast), by the
sum of both, and by occupancy with queries of the sweeps before and after, each once, then fine-tuned on some labeled
sweeps of the same drives, for each seed others, which all starts share. All trainings are those of the recipes. The
score is the mIoU of all points of sweeps of other drives, after the last step. Linear probing trains the last layer
alone.

Drives and runs are kept in the folder; ``results.json`` of it has every run as soon as it has ended, and the same
command line goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tables import row, table_head
from tokenizer import machine

from cosmos_lidar.errors import UserError
from cosmos_lidar.parallel.made_once import made_once
from cosmos_lidar.recipes import also_pretrain, also_semseg
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.shards.energon_index import read_energon_index, shards_of
from cosmos_lidar.shards.files import write_tar, write_text
from cosmos_lidar.shards.label_subset import read_parts
from cosmos_lidar.shards.manifest import index_with_energon
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.points import DOCUMENT, SAMPLE_TYPE
from cosmos_lidar.shards.points_writer import write_points
from cosmos_lidar.shards.sweeps import PackedRun
from cosmos_lidar.synth import synthesize_drive
from cosmos_lidar.training.engine import RunResult
from cosmos_lidar.training.metrics_file import read_metrics
from cosmos_lidar.training.overrides import apply_overrides

SCRATCH = "scratch"
_NO_OCCUPANCY = ["model.loss.occupancy=0", "model.loss.intensity=0"]
_CONTRAST = ["model.contrast.weight=1", "model.contrast.gap=4", "model.contrast.stride=2", "data.flip=false"]
STARTS: dict[str, tuple[str, list[str]]] = {  # name -> title, options of pre-training
    SCRATCH: ("from scratch", []),
    "also": ("ALSO", []),
    "bevcontrast": ("BEVContrast", [*_CONTRAST, *_NO_OCCUPANCY]),
    "both": ("both", _CONTRAST),
    "sweeps": ("ALSO, queries of 5 sweeps", ["data.sweeps=2"]),
}
FINE_TUNED, PROBED = "fine-tuned", "linear probing"
_TINY = {
    "train": 3, "held_out": 1, "frames": 5, "sensor": "16x90", "width": 4, "labeled": [1, 2], "seeds": 2,
    "pretrain_steps": 2, "steps": 2,
}  # fmt: skip
_NOT_SETTINGS = ("folder", "json", "jobs", "tiny", "finished", "starts")


@dataclass(frozen=True)
class Cell:
    """One run: task, name of the start, number of labeled sweeps, seed."""

    task: str
    start: str
    labeled: int
    seed: int

    @property
    def name(self) -> str:
        """Key in ``results.json``, and folder of the run."""
        kind = "probe" if self.task == PROBED else "tune"
        return f"{kind}_{self.start}_{self.labeled}_{self.seed}"


def cells(args: argparse.Namespace) -> Iterator[Cell]:
    """Yield the runs: fine-tuning first, one number of labeled sweeps after the other, seeds of a start in a row."""
    for task, labeled in itertools.product((FINE_TUNED, PROBED), args.labeled):
        for start, seed in itertools.product(args.starts, range(args.seeds)):
            if task == FINE_TUNED or start != SCRATCH:
                yield Cell(task, start, labeled, seed)


def make_drives(args: argparse.Namespace) -> Path:
    """Return the folder of all sweeps; the drives are rendered the first time."""
    rows, columns = (int(side) for side in args.sensor.split("x"))
    folder, drives = args.folder / "shards", args.train + args.held_out
    sensor = uniform_sensor(rows, columns, name=f"uniform{rows}")

    def make() -> None:
        clips = [synthesize_drive(seed, sensor, args.frames) for seed in range(drives)]
        write_points(clips, folder, PrepareOptions(split=(args.train, args.held_out, 0)), jobs=args.jobs)

    return made_once(folder, folder / DOCUMENT, make)


def label(args: argparse.Namespace, shards: Path, labeled: int, seed: int) -> Path:
    """Return a folder of labeled sweeps, drawn at random, and of every other held-out sweep for validation.

    The first of the drawn sweeps are those of a smaller number and the same seed.
    """
    folder, index = args.folder / f"labeled_{labeled}_{seed}", read_energon_index(shards)

    def make() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        places = {
            split: [(shard, place) for shard in shards_of(shards, split) for place in index.samples[shard]]
            for split in ("train", "val")
        }
        random.Random(seed).shuffle(places["train"])
        chosen = {"train": places["train"][:labeled], "val": places["val"][::2]}
        for split, some in chosen.items():
            packed = (PackedRun(place.key, read_parts(shards / shard, place), 1, 0) for shard, place in some)
            write_tar(folder / f"{split}-000000.tar", packed)
        index_with_energon(folder, [f"{split}-000000.tar" for split in chosen], sample_type=SAMPLE_TYPE)
        write_text(folder / DOCUMENT, json.dumps({"version": 1, "samples": labeled}) + "\n")

    return made_once(folder, folder / DOCUMENT, make)


def shared_options(args: argparse.Namespace, name: str, shards: Path) -> list[str]:
    """Return the options that all trainings have."""
    return [
        f"data.path={shards}", f"log.root={args.folder / 'runs'}", f"log.name={name}", "log.tensorboard=false",
        f"model.width={args.width}", "trainer.val_every=0", "trainer.val_at_start=false", "trainer.save_every=100",
        "trainer.keep_last=1", "trainer.val_batches=0", "trainer.log_every=10",
    ]  # fmt: skip


def pretrain(args: argparse.Namespace, start: str, shards: Path) -> Path:
    """Return the backbone of a pre-training, which is done where it was not yet."""
    scans = 2 if "model.contrast.weight=1" in STARTS[start][1] else 1
    run = apply_overrides(
        also_pretrain.debug(),
        [
            *shared_options(args, f"pretrain_{start}", shards), f"trainer.max_steps={args.pretrain_steps}",
            f"data.batch_size={4 // scans}", "data.shuffle=64", "data.points=8192", "data.queries=1024",
            "data.decimation=null", "optim.lr=0.005", "optim.warmup_steps=20",
            f"optim.decay_until={args.pretrain_steps}", *STARTS[start][1], *args.pretrain_options,
        ],
    )  # fmt: skip
    return ended(also_pretrain.train(run)) / "checkpoints" / f"iter_{args.pretrain_steps:09d}_backbone.safetensors"


def ended(result: RunResult) -> Path:
    """Return the folder of a run; end the program where a signal has ended the run early."""
    if result.signal:
        sys.exit(result.exit_status)
    return result.folder


def train(args: argparse.Namespace, cell: Cell, shards: Path) -> float:
    """Return the mIoU of a run, which is done where it was not yet; its backbone is pre-trained first."""
    probing = cell.task == PROBED
    rate = args.probe_lr if probing else args.lr
    weights = [] if cell.start == SCRATCH else [f"model.checkpoint={pretrain(args, cell.start, shards)}"]
    run = apply_overrides(
        also_semseg.debug(),
        [
            *shared_options(args, cell.name, label(args, shards, cell.labeled, cell.seed)),
            f"trainer.max_steps={args.steps}", f"trainer.seed={cell.seed}", f"optim.lr={rate}",
            "optim.warmup_steps=10", "data.batch_size=2", "data.shuffle=64", "data.points=0", "data.decimation=null",
            f"model.linear_probing={str(probing).lower()}", *weights, *args.train_options,
        ],
    )  # fmt: skip
    rows = read_metrics(ended(also_semseg.train(run)) / "metrics.csv")
    return float([one["val/miou"] for one in rows if one["val/miou"]][-1])


def read_results(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the results of an earlier call with the same settings; empty ones without.

    Raises:
        UserError: the results are of other settings.
    """
    if not path.exists():
        return {"settings": settings, "cells": {}}
    found = json.loads(path.read_text())
    if found["settings"] != settings:
        changed = {key for key, value in settings.items() if found["settings"].get(key) != value}
        raise UserError(f"{path} has other {', '.join(sorted(changed))}: take another folder")
    return found


def run_cells(args: argparse.Namespace, results: dict[str, Any], save: Callable[[], None]) -> None:
    """Train what has no result yet; save after each run."""
    shards = make_drives(args)
    for cell in cells(args):
        if cell.name in results["cells"]:
            continue
        results["cells"][cell.name] = train(args, cell, shards)
        save()


def table(args: argparse.Namespace, results: dict[str, Any]) -> str:
    """Return the table: mIoU in percent and, paired by seed, how much above scratch it is; mean and deviation."""
    total = args.train * args.frames
    head = [f"{100 * count / total:.2g} % ({count} of {total} sweeps)" for count in args.labeled]
    lines = [table_head("start", "training", *head)]
    for task in (FINE_TUNED, PROBED):
        for start in args.starts:
            texts = [_cell_text(results["cells"], task, start, count, range(args.seeds)) for count in args.labeled]
            if any(texts):
                lines.append(row(STARTS[start][0], task, *(text or "–" for text in texts)))
    return "".join(lines)


def _cell_text(found: dict[str, float], task: str, start: str, count: int, seeds: Sequence[int]) -> str:
    names = {seed: Cell(task, start, count, seed).name for seed in seeds}
    scores = {seed: 100 * found[name] for seed, name in names.items() if name in found}
    bases = {seed: Cell(FINE_TUNED, SCRATCH, count, seed).name for seed in scores}
    gains = [scores[seed] - 100 * found[name] for seed, name in bases.items() if name in found]
    values = list(scores.values())
    if not values:
        return ""
    number = f" of {len(values)}" if len(values) < len(seeds) else ""
    gain = f" ({_spread(gains, '+')})" if gains and start != SCRATCH else ""
    return _spread(values) + gain + number


def _spread(values: Sequence[float], sign: str = "") -> str:
    """Return mean and standard deviation of a sample."""
    mean = f"{statistics.mean(values):{sign}.1f}"
    return f"{mean} ± {statistics.stdev(values):.1f}" if len(values) > 1 else mean


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options; ``--tiny`` changes the defaults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("folder", type=Path, help="for drives, runs and results")
    add("--train", type=int, default=60, help="drives to train on (default %(default)s)")
    add("--held-out", type=int, default=6, help="others to score on (default %(default)s)")
    add("--frames", type=int, default=8, help="sweeps of a drive (default %(default)s)")
    add("--sensor", default="16x256", metavar="BEAMSxCOLUMNS", help="the lidar (default %(default)s)")
    add("--width", type=int, default=8, help="channels of the network's first layer (default %(default)s)")
    add("--labeled", type=int, nargs="+", default=[5, 1, 48], help="numbers of labeled sweeps, in this order")
    add("--starts", nargs="+", choices=STARTS, default=list(STARTS), help="default: all")
    add("--seeds", type=int, default=3, help="fine-tunings of each (default %(default)s)")
    add("--pretrain-steps", type=int, default=1200, help="of 4 sweeps (default %(default)s)")
    add("--steps", type=int, default=150, help="of fine-tuning, 2 sweeps each (default %(default)s)")
    add("--lr", type=float, default=0.005, help="of fine-tuning (default %(default)s)")
    add("--probe-lr", type=float, default=0.05, help="of linear probing (default %(default)s)")
    add("--pretrain-options", nargs="+", default=[], metavar="key=value", help="further options of pre-training")
    add("--train-options", nargs="+", default=[], metavar="key=value", help="further options of fine-tuning")
    add("--jobs", type=int, default=1, help="processes that render")
    add("--tiny", action="store_true", help="a rehearsal of a minute")
    add("--finished", action="store_true", help="train nothing, print what there is")
    add("--json", action="store_true", help="print results.json of the folder instead of the table")
    if parser.parse_args(arguments).tiny:
        parser.set_defaults(**_TINY)
    return parser.parse_args(arguments)


def main() -> int:
    """Render, train, score, write and print."""
    args = parse()
    args.folder.mkdir(parents=True, exist_ok=True)
    path = args.folder / "results.json"
    results = read_results(path, {key: value for key, value in vars(args).items() if key not in _NOT_SETTINGS})
    results["where"] = f"{machine('cpu')}, fp32; {time.strftime('%Y-%m-%d')}"

    def save() -> None:
        write_text(path, json.dumps(results, indent=1) + "\n")

    if not args.finished:
        run_cells(args, results, save)
    save()
    text = path.read_text() if args.json else f"{results['where']}\n\n{table(args, results)}"
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
