"""Time and memory of a sparse backbone on whole sweeps: maps, forward, backward, beside the bound of its GEMMs.

    python benchmarks/sparse_conv.py nuscenes=path/to/nuscenes@0.1 kitti=path/to/kitti@0.05
    python benchmarks/sparse_conv.py --backbone minkunet18 --repeats 1 --small

One sweep of each dataset (default: a synthetic street), in voxels of the size after ``@`` in meters, is a batch.
``maps`` is the processor time to build all kernel maps; ``forward`` and ``backward`` (gradients of all weights) have
them already, as the second convolution of a stride has in training. ``GEMM`` are the same matrix products on
rows that lie ready: what is above it is gathering, summing, norms and ReLU. Times are the shortest of the repeats;
``CPU s`` is the processor time of all threads, which other programs on the machine change less than wall time. ``peak``
is the memory above that before the network was built, of a training step.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from street import street_points
from tables import row, table_head
from tokenizer import peak_mib, start_counting_memory, synchronize  # the benchmark beside this one
from torch import Tensor

from cosmos_lidar.models.plan import count_parameters
from cosmos_lidar.models.sparse import SparseConv3d, SparseTensor, build_backbone
from cosmos_lidar.models.sparse.voxels import batch_voxels, rounded_voxels

COLUMNS = (
    "threads", "maps CPU s", "forward s", "CPU s", "GEMM CPU s", "backward s", "CPU s", "GEMM CPU s",
    "inference s", "peak GB", "GFLOP",
)  # fmt: skip


def read_points(dataset: str) -> tuple[Tensor, float]:
    """Return points (N, 3) of the first sweep of ``FORMAT=PATH@SIZE`` or ``synthetic@SIZE``, and the voxel size.

    ``street@SIZE`` needs nothing but torch.
    """
    name, _, size = dataset.partition("@")
    if name == "street":
        return street_points(), float(size or 0.1)
    import numpy as np

    from cosmos_lidar.clips.open import open_clips
    from cosmos_lidar.sensors import load_sensor
    from cosmos_lidar.synth import synthesize_drive

    format, _, path = name.partition("=")
    if format == "synthetic":
        clip = synthesize_drive(seed=0, sensor=load_sensor("kitti_hdl64e"), frames=1)
    else:
        clip = open_clips(Path(path), format=format)[0]
    return torch.from_numpy(np.ascontiguousarray(clip.points(0), np.float32)), float(size or 0.1)


def read_batch(datasets: list[str], most: int, device: str) -> SparseTensor:
    """Return the voxels of one sweep of each dataset, with one random feature."""
    clouds = []
    for dataset in datasets:
        points, size = read_points(dataset)
        points = points[:most]
        clouds.append(rounded_voxels(points, torch.rand(len(points), 1), size))
    tensor = batch_voxels(clouds).tensor
    return SparseTensor(tensor.coords.to(device), tensor.feats.to(device), clouds=tensor.clouds)


class Clock:
    """Shortest wall and processor times of a function."""

    def __init__(self, repeats: int, device: str) -> None:
        self.repeats, self.device = repeats, torch.device(device)

    def __call__(self, run: Callable[[], object]) -> tuple[float, float]:
        """Return seconds and processor seconds of a call."""
        times = [self._once(run) for _ in range(self.repeats)]
        return min(wall for wall, _ in times), min(cpu for _, cpu in times)

    def _once(self, run: Callable[[], object]) -> tuple[float, float]:
        synchronize(self.device)
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        synchronize(self.device)
        return time.perf_counter() - wall, time.process_time() - cpu


class Products:
    """The matrix products of all sparse convolutions of a network: rows, input and output channels."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.sizes: list[tuple[int, int, int]] = []
        self.hooks = [
            module.register_forward_hook(self._note) for module in network.modules() if isinstance(module, SparseConv3d)
        ]

    def _note(self, conv: SparseConv3d, inputs: tuple[SparseTensor], output: SparseTensor) -> None:
        pairs = conv.pairs(inputs[0])
        counts = [len(output.feats)] if pairs is None else [count for count in pairs.counts if count]
        if pairs is not None and pairs.center is not None:
            counts.append(pairs.source_count)
        self.sizes += [(count, conv.in_channels, conv.out_channels) for count in counts]

    def stop(self) -> None:
        """Note no more of them."""
        for hook in self.hooks:
            hook.remove()

    @property
    def flops(self) -> int:
        """Of a forward pass, a multiply-add counted as two."""
        return sum(2 * rows * i * o for rows, i, o in self.sizes)

    def run(self, device: str, backward: bool) -> None:
        """Multiply matrices of these sizes: those of the forward pass, or the two of each of the backward pass."""
        for rows, i, o in self.sizes:
            x, w, y = _part(rows, i, device), _part(i, o, device), _part(rows, o, device)
            if backward:
                y @ w.t()
                x.t() @ y
            else:
                x @ w


_PARTS: dict[tuple[int, str], Tensor] = {}


def _part(rows: int, columns: int, device: str) -> Tensor:
    key = (columns, device)
    if key not in _PARTS or len(_PARTS[key]) < rows:
        _PARTS[key] = torch.rand(rows, columns, device=device)
    return _PARTS[key][:rows]


def numbers(args: argparse.Namespace) -> dict[str, float]:
    """Return wall seconds (``_s``), processor seconds (``_cpu_s``), peak in GB and GFLOP of a forward pass."""
    torch.manual_seed(0)
    batch, clock = read_batch(args.datasets, args.most_points, args.device), Clock(args.repeats, args.device)
    before = start_counting_memory(clock.device)
    network = build_backbone(args.backbone, 1, 128).to(args.device)

    def fresh() -> SparseTensor:
        return SparseTensor(batch.coords, batch.feats, clouds=batch.clouds)

    out = network(batch)
    factors = torch.randn_like(out)
    out.backward(factors)
    del out
    peak = (peak_mib(clock.device) - before) * 2**20
    products = Products(network)
    network(batch)
    products.stop()
    with_maps = clock(lambda: network(fresh()))
    forward = clock(lambda: network(batch))
    held: list[Tensor] = []

    def step() -> None:
        held[:] = [network(batch)]

    backward_times = []
    for _ in range(args.repeats):
        step()
        backward_times.append(Clock(1, args.device)(lambda: held.pop().backward(factors)))
    backward = tuple(min(times) for times in zip(*backward_times, strict=True))
    network.eval()
    with torch.no_grad():
        inference = clock(lambda: network(batch))
        gemms = [clock(lambda backward=backward: products.run(args.device, backward)) for backward in (False, True)]
    found = {"voxels": float(len(batch.feats)), "maps_s": with_maps[0] - forward[0],
             "maps_cpu_s": with_maps[1] - forward[1], "inference_s": inference[0], "peak_gb": peak / 1e9,
             "gflop": products.flops / 1e9}  # fmt: skip
    for name, (wall, cpu), (bound, bound_cpu) in zip(("forward", "backward"), (forward, backward), gemms, strict=True):
        found |= {f"{name}_s": wall, f"{name}_cpu_s": cpu, f"{name}_gemm_s": bound, f"{name}_gemm_cpu_s": bound_cpu}
    return found


def measure(args: argparse.Namespace, threads: int) -> list[str]:
    """Return the cells of a row of the table."""
    torch.set_num_threads(threads)
    found = numbers(args)
    cells = [f"{found['maps_cpu_s']:.2f}"]
    for name in ("forward", "backward"):
        cells += [f"{found[f'{name}_{kind}']:.2f}" for kind in ("s", "cpu_s", "gemm_cpu_s")]
    return [str(threads), *cells, f"{found['inference_s']:.2f}", f"{found['peak_gb']:.2f}", f"{found['gflop']:.1f}"]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "datasets", nargs="*", default=["synthetic@0.1"], help="synthetic, street or FORMAT=PATH; @METERS"
    )
    parser.add_argument("--backbone", default="minkunet34")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="on the CPU")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="3,000 points of each sweep")
    args = parser.parse_args()
    args.most_points = 3000 if args.small else 1 << 30
    batch = read_batch(args.datasets, args.most_points, "cpu")
    parameters = count_parameters(build_backbone(args.backbone, 1, 128)) / 1e6
    out = sys.stdout.write
    out(f"{args.backbone}, {parameters:.1f} M parameters, {len(batch.feats)} voxels of {batch.clouds} sweeps, ")
    out(f"float32, {args.device}; torch {torch.__version__}, {platform.machine()}, best of {args.repeats}\n\n")
    out(table_head(*COLUMNS))
    for threads in args.threads:
        out(row(*measure(args, threads)))
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
