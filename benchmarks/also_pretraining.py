"""Time of a step of occupancy pre-training on whole sweeps: making samples, forward, backward and update.

    python benchmarks/also_pretraining.py nuscenes@nuscenes=path/to/nuscenes kitti3d_second@kitti=path/to/kitti

``VARIANT@DATASET``: a variant of recipes/also_pretrain.py and a recording (FORMAT=PATH; default: a synthetic street),
whose first sweep is the whole batch. ``sample`` is what a worker of the loader does for a sweep: decimation, queries,
augmentation, voxels. Times are the shortest of the repeats, in seconds of processor time of all threads, which other
programs hardly change; on a GPU, of wall time.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sparse_conv import Clock, read_points
from tables import row, table_head
from torch import Tensor

from cosmos_lidar.families.also.config import AlsoTrainConfig
from cosmos_lidar.families.also.data import PretextBatch, ragged_fields
from cosmos_lidar.families.also.job import make_network
from cosmos_lidar.families.also.pretrain import PretrainModel
from cosmos_lidar.families.also.samples import PretextCloud, pretext_cloud
from cosmos_lidar.recipes import also_pretrain
from cosmos_lidar.training.overrides import apply_overrides

COLUMNS = ("variant", "sweeps", "points", "voxels", "pairs", "sample", "forward", "backward", "update")


def batch_of(cloud: PretextCloud, count: int) -> PretextBatch:
    """Return a batch of one sweep, several times."""
    names, eye = ["sweep"] * count, torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    fields = {"lowest": cloud.lowest.repeat(count, 1), "poses": eye, "clip_ids": names, "seeds": [0] * count}
    return PretextBatch(__key__=names, __restore_key__=(), **ragged_fields([cloud] * count), **fields)


def measure(given: str, count: int, options: list[str], repeats: int, device: str) -> list[str]:
    """Return the cells of a row of the table."""
    variant, _, dataset = given.partition("@")
    run: AlsoTrainConfig = apply_overrides(also_pretrain.RECIPES[variant](), options)
    points = torch.from_numpy(np.ascontiguousarray(read_points(dataset or "synthetic")[0], np.float32))
    torch.manual_seed(0)
    model = PretrainModel(run, make_network(run), Path()).to(device)
    make = partial(pretext_cloud, points, torch.rand(len(points)), run.model, run.data, 0, training=True)
    batch = batch_of(make(), count).to(device)
    clock, which = Clock(repeats, device), int(device == "cpu")
    seen: list[Tensor] = []

    def forward() -> None:
        seen[:] = [model.step(batch)["loss"]]

    optimizer = torch.optim.AdamW(model.parameters())
    times = [clock(work)[which] for work in (make, forward)]
    times.append(Clock(1, device)(lambda: seen[0].backward())[which])
    times.append(clock(optimizer.step)[which])
    pairs = len(model.network(**model.inputs(batch)).pairs.queries)
    sizes = (variant, count, len(batch.points.values), len(batch.voxels), pairs)
    return [*map(str, sizes), *(f"{seconds:.3f}" for seconds in times)]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", default=["nuscenes"], help="VARIANT, or VARIANT@FORMAT=PATH")
    parser.add_argument("--batch", type=int, default=1, help="sweeps")
    parser.add_argument("--options", nargs="*", default=[], help="key=value, as of the recipe")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sys.stdout.write(f"torch {torch.__version__}, {args.threads} threads, {args.device}, best of {args.repeats}\n\n")
    sys.stdout.write(table_head(*COLUMNS))
    for given in args.variants:
        sys.stdout.write(row(*measure(given, args.batch, args.options, args.repeats, args.device)))
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
