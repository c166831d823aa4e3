"""Train ``small-backbone`` and ``small-semseg``: self-supervision by ALSO, then segmentation, on synthetic drives.

    OMP_NUM_THREADS=1 python benchmarks/small_models/sparse.py sparse --out cosmos_lidar/weights

Both are runs of the recipes ``also_pretrain`` and ``also_semseg`` with a MinkUNet18 a quarter as wide as published.
The score is the mIoU of all points of sweeps of other drives (``val/miou``). Drives and runs are kept in the folder,
and the same command line goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from common import (
    Card,
    Result,
    command,
    finished,
    held_out_seeds,
    own_options,
    parameters,
    train_seeds,
    write_card,
    write_weights,
)
from sparse_drives import SENSORS, make_shards

from cosmos_lidar.recipes import also_pretrain, also_semseg
from cosmos_lidar.training.overrides import apply_overrides

PROGRAM = "benchmarks/small_models/sparse.py sparse"
BACKBONE, SEMSEG = "small-backbone", "small-semseg"
_NETWORK = ["model.backbone=MinkUNet18", "model.width=8", "model.inputs=[pos,intensities]", "model.voxel_size=0.3"]
_DATA = ["data.decimation=null", "data.points=12288", "data.batch_size=4", "data.shuffle=128", "data.workers=0"]


def options(args: argparse.Namespace, name: str, shards: Path, steps: int) -> list[str]:
    """Return what both trainings have in common."""
    return [
        *_NETWORK, *_DATA, f"data.path={shards}", f"log.root={args.folder / 'runs'}", f"log.name={name}",
        "log.tensorboard=false", f"trainer.max_steps={steps}", f"trainer.save_every={args.save_every}",
        "trainer.keep_last=1", "trainer.val_at_start=false", "trainer.val_batches=0", "trainer.val_every=0",
        "trainer.log_every=5", "optim.warmup_steps=10", f"optim.decay_until={steps}", f"trainer.seed={args.seed}",
    ]  # fmt: skip


def main() -> int:
    """Render, train, score, write."""
    args = parse()
    args.folder.mkdir(parents=True, exist_ok=True)
    train, held_out = train_seeds(args.train), held_out_seeds(args.held_out)
    shards = make_shards(args.folder / "shards", train, held_out, args.frames, args.jobs)
    data = f"{len(train)} synthetic drives, sweeps of each: {args.frames} (seeds {train.start} to {train.stop - 1}; "
    data += ", ".join(SENSORS)
    data += f" in turn), {len(held_out)} held-out ones (seeds {held_out.start} to {held_out.stop - 1})."

    run = also_pretrain.debug()
    common = options(args, BACKBONE, shards, args.pretrain_steps)
    own = ["data.queries=1024", "data.query_distance=0.3", "model.latent_size=32", "model.radius=1", "optim.lr=0.005"]
    pretrain = finished(also_pretrain.train, apply_overrides(run, [*common, *own]))
    backbone = pretrain.export("backbone.safetensors")

    run = also_semseg.debug()
    common = options(args, SEMSEG, shards, args.steps)
    own = ["optim.lr=0.01", "model.loss.lovasz=0.5", f"model.checkpoint={backbone}"]
    semseg = finished(also_semseg.train, apply_overrides(run, [*common, *own]))
    if args.out:
        publish_backbone(args, data, pretrain)
        publish_semseg(args, data, pretrain, semseg, shards)
    return 0


def publish_backbone(args: argparse.Namespace, data: str, result: Result) -> None:
    """Write ``small-backbone`` to the catalog."""
    from safetensors.torch import load_file

    folder, state = args.out / BACKBONE, load_file(result.export("backbone.safetensors"))
    write_weights(folder, state, {"family": "also", "run": own_options(result.run)})
    values, names = result.last("val/"), {"val/occupancy": "cross-entropy of occupancy", "val/iou": "IoU of queries"}
    metrics = [(text, f"{values[key]:.3f}") for key, text in names.items()]
    training = f"ALSO, {result.step} steps of 4 sweeps, seed {args.seed}, {result.minutes}."
    card = Card(_BACKBONE, data, training, PROGRAM, metrics, _LIMITS)
    write_card(folder, card, result.cost, parameters(state))


def publish_semseg(args: argparse.Namespace, data: str, before: Result, result: Result, shards: Path) -> None:
    """Write ``small-semseg`` to the catalog, after evaluating it as the command line does."""
    from safetensors.torch import load_file

    folder, state = args.out / SEMSEG, load_file(result.export("semseg.safetensors"))
    write_weights(folder, state, {"family": "also", "run": own_options(result.run)})
    scores = args.folder / "scores"
    checkpoint = str(folder / "model.safetensors")
    command(["evaluate-semseg", "--checkpoint", checkpoint, "--data", str(shards), "--out", str(scores)])
    found = json.loads((scores / "semseg.json").read_text())
    points = found["all_points"]
    metrics = [
        ("mIoU of all points", _percent(points["miou"])),
        ("points of the right class", _percent(points["accuracy"])),
    ]
    metrics += [(f"IoU of {name}", _percent(iou)) for name, iou in points["iou"].items() if iou is not None]
    training = (
        f"From `{BACKBONE}` ({before.minutes}), {result.step} steps of 4 sweeps with all labels, seed {args.seed}, "
        f"{result.minutes}."
    )
    write_card(folder, Card(_SEMSEG, data, training, PROGRAM, metrics, _LIMITS), result.cost, parameters(state))


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


_BACKBONE = (
    "A sparse backbone for lidar voxels (MinkUNet18, 8 channels wide, voxels of 0.3 m, position and intensity), "
    "trained without labels by occupancy (ALSO). It is a start for segmentation: `model.checkpoint=small` of "
    "`recipes/also_semseg.py`."
)
_SEMSEG = (
    "Semantic segmentation of lidar sweeps into the 19 classes of SemanticKITTI: `small-backbone`, fine-tuned with "
    "labels. `cosmos-lidar evaluate-semseg --checkpoint small --data shards`."
)
_LIMITS = (
    "Synthetic drives alone: streets are simple, objects are made of boxes and cylinders, and classes that they do not "
    "have are never found. On recordings it is a start for fine-tuning, not a network to use. Intensities are expected "
    "from 0 to 1, sweeps level with the road and about 2 m above it."
)


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("folder", type=Path, help="for drives and runs")
    add("--train", type=int, default=110, help="drives to train on (default %(default)s)")
    add("--held-out", type=int, default=12, help="others to score on (default %(default)s)")
    add("--frames", type=int, default=1, help="sweeps of a drive (default %(default)s)")
    add("--pretrain-steps", type=int, default=500, help="of 4 sweeps (default %(default)s)")
    add("--steps", type=int, default=400, help="of segmentation, 4 sweeps each (default %(default)s)")
    add("--save-every", type=int, default=10, help="steps between checkpoints (default %(default)s)")
    add("--seed", type=int, default=0, help="of weights and batches (default %(default)s)")
    add("--jobs", type=int, default=1, help="processes that render")
    add("--out", type=Path, metavar="DIR", help="write the models here, such as cosmos_lidar/weights")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
