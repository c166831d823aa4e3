"""Memory of loading a multi-view network: made on the meta device, sharded over ranks, filled from a published file.

    python benchmarks/multiview_loading.py
    python benchmarks/multiview_loading.py --width 2048 --blocks 28     # 2 B: a file of 8 GB, 4 GB for each rank

Writes a file of random weights in the published layout (``net.`` names, ``torch.save``) and loads it on gloo ranks as
training does. Prints, of each rank, its share of the weights and how far the peak of the resident memory rose above
that before the network (Linux only). Exit status 1 where a weight is not that of the file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # FSDP imports it with the first module: libraries do not count below
import torch.distributed as dist
import torch.distributed.fsdp
from tokenizer import forget_resident_peak, machine, resident_peak_mib  # the benchmark beside this one
from torch import Tensor, nn

from cosmos_lidar.families.dit.job import open_shape
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.parallel.apply import parallelize
from cosmos_lidar.parallel.clip import local_part
from cosmos_lidar.parallel.materialize import fill, local_slices, materialize
from cosmos_lidar.parallel.mesh import make_mesh, mesh_sizes
from cosmos_lidar.recipes import multiview
from cosmos_lidar.training.overrides import apply_overrides

_HEAD = 128  # width of a head


def scaled(width: int, blocks: int) -> dict[str, int]:
    """Return what differs from the published shape."""
    return {"model_channels": width, "num_blocks": blocks, "num_heads": width // _HEAD}


def write_published(path: Path, width: int, blocks: int) -> None:
    """Write random weights under the published names."""
    torch.manual_seed(0)
    network = build_dit("predict2_2b_multiview", **scaled(width, blocks))
    torch.save({f"net.{name}": value for name, value in network.state_dict().items()}, path)


def load(path: Path, width: int, blocks: int) -> nn.Module:
    """Build and load as training does."""
    run = apply_overrides(multiview.waymo_720p(), [f"model.checkpoint={path}"])
    network, sources = open_shape(run.model, {**run.shape(), **scaled(width, blocks)}, run.data.text_shape)
    ranks = dist.get_world_size()
    parallelize(network, network.parallel_plan(), make_mesh(mesh_sizes(0, ranks, 1, 1, ranks), "cpu"))
    materialize(network, "cpu")
    fill(network, sources)
    return network


def measure(path: Path, width: int, blocks: int) -> dict[str, Any]:
    """Return MiB of this rank: its share, the rise of the peak, the largest tensor; whether weights are the file's."""
    dist.init_process_group("gloo")
    make_mesh(mesh_sizes(0, dist.get_world_size(), 1, 1, dist.get_world_size()), "cpu")
    dist.barrier()
    before = forget_resident_peak()
    network = load(path, width, blocks)
    rise = resident_peak_mib() - before
    state = network.state_dict()
    largest = max(value.numel() * value.element_size() for value in state.values())
    share = sum(local_part(value).nbytes for value in state.values())
    stored = torch.load(path, weights_only=True, mmap=True)
    same = all(_is_shard_of(value, stored[f"net.{name}"]) for name, value in state.items())
    dist.barrier()
    dist.destroy_process_group()
    mib = 2**20
    return {"share_mib": share / mib, "rise_mib": rise, "largest_mib": largest / mib, "same": same}


def _is_shard_of(value: Tensor, whole: Tensor) -> bool:
    return torch.equal(local_part(value), whole[local_slices(value)])


def launch(path: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return what the ranks measured."""
    program = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={args.ranks}"]
    program += [str(Path(__file__).resolve()), "--file", str(path)]
    program += ["--width", str(args.width), "--blocks", str(args.blocks)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(program, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def main() -> int:
    """Write, load and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--ranks", type=int, default=2)
    add("--width", type=int, default=768, help="model channels, a multiple of 128 (default %(default)s)")
    add("--blocks", type=int, default=6)
    add("--folder", type=Path, help="where the file is written (default: the system's temporary folder)")
    add("--file", type=Path, help=argparse.SUPPRESS)  # of a rank
    args = parser.parse_args()
    if args.file:
        sys.stdout.write(json.dumps(measure(args.file, args.width, args.blocks)) + "\n")
        return 0
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "model.pt"
        write_published(path, args.width, args.blocks)
        size = path.stat().st_size / 2**20
        ranks = launch(path, args)
    out = sys.stdout.write
    out(f"{machine('cpu')}; a file of {size:.0f} MiB on {args.ranks} ranks\n\n")
    out("| rank | share MiB | peak above before, MiB | ratio | largest tensor MiB |\n|---|---|---|---|---|\n")
    for number, one in enumerate(ranks):
        ratio = one["rise_mib"] / one["share_mib"]
        numbers = f"{one['share_mib']:.1f} | {one['rise_mib']:.1f} | {ratio:.2f} | {one['largest_mib']:.1f}"
        out(f"| {number} | {numbers} |\n")
    return int(not all(one["same"] for one in ranks))


if __name__ == "__main__":
    sys.exit(main())
