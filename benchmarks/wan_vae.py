"""Speed and memory of the Wan2.1 video VAE: windows against whole videos, views, tiles, and the error of seams.

    python benchmarks/wan_vae.py --device cuda --dtypes float32 bfloat16 --modes 4 16 tile --seams
    OMP_NUM_THREADS=1 python benchmarks/wan_vae.py

A mode is the window in frames (decoding takes a quarter of it in latent frames), ``whole`` for one pass over the
video, or ``tile`` for windows of 4 in tiles. Frames/s count frames of all views. Memory is what is needed above the
weights, by all views that are computed at once: the peak of the CUDA allocator, or of the resident memory of the
process (Linux only). The last two columns compare with ``whole`` of the same size and type. Every row is measured in a
fresh process; on the CPU with one thread in processor time, so that other programs of a shared machine do not count.

Weights are random unless ``--checkpoint`` names a file: speed does not depend on them, the error of seams does.

The second table (``--seams``) compares tiles with whole images: the root mean square of the difference, of latents in
units of their standard deviation, of frames as PSNR, for overlaps of an eighth, a quarter and a half of a tile.

``--predict`` prints the peak of the tensors alive instead, counted on shapes alone: nothing is computed, no memory is
taken, and the workspaces of libraries are left out.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from tables import row, table_head

# the benchmark beside this one
from tokenizer import machine, peak_mib, start_counting_memory, synchronize
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from cosmos_lidar.models.plan import count_parameters
from cosmos_lidar.models.wan_vae import WanVAE, build_vae, load_vae
from cosmos_lidar.training.measure.memory import PeakMemory


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    checkpoint: str
    dim: int
    views: int
    batch: int
    frames: int
    height: int
    width: int
    device: str
    dtype: str
    mode: str
    tile: int

    @property
    def size(self) -> str:
        """Of a view, for tables."""
        return f"{self.frames} x {self.height} x {self.width}"

    @property
    def at_once(self) -> str:
        """Views that are computed at once, for tables."""
        return f"{self.batch} of {self.views}"


@dataclass(frozen=True)
class Measured:
    """Frames per second and peak MiB above the weights."""

    encode: float
    decode: float
    encode_mib: float
    decode_mib: float


def make_vae(case: Case) -> WanVAE:
    """Return the network of a case; random weights keep the size of what they are given, attention included."""
    dtype = getattr(torch, case.dtype)
    if case.checkpoint:
        return load_vae(case.checkpoint, dtype=dtype).to(case.device)
    generator = torch.Generator().manual_seed(0)
    vae = build_vae("wan2_1", dim=case.dim)
    with torch.no_grad():
        for parameter in vae.parameters():
            if parameter.shape[1:].numel() > 1:
                parameter.uniform_(-1, 1, generator=generator).mul_(math.sqrt(3 / parameter.shape[1:].numel()))
    return vae.to(case.device, dtype).eval().requires_grad_(False)


def make_video(case: Case) -> Tensor:
    """Return smooth shapes that move: (views, 3, T, H, W) in [-1, 1]."""
    sizes = (case.frames, case.height, case.width)
    t, y, x = torch.meshgrid(*(torch.arange(size, dtype=torch.float32) for size in sizes), indexing="ij")
    views = []
    for view in range(case.views):
        waves = [
            torch.sin(0.05 * (c + 1) * x + 0.07 * y + 0.4 * t + view) * torch.cos(0.11 * y - 0.2 * c) for c in range(3)
        ]
        views.append(torch.stack(waves) + 0.3 * torch.sign(torch.sin(0.03 * (x + 3 * t)) * torch.sin(0.05 * y)))
    return torch.stack(views).clamp(-1, 1)


def options(case: Case) -> tuple[dict[str, int | None], dict[str, int | None]]:
    """Return the options of encode and of decode."""
    window = {"whole": None, "tile": 4}.get(case.mode) if case.mode in ("whole", "tile") else int(case.mode)
    latents = None if window is None else window // 4
    shared = {"batch": case.batch, "tile": case.tile if case.mode == "tile" else None}
    return {"window": window, **shared}, {"window": latents, **shared}


def measure(case: Case, repeats: int) -> Measured:
    """Time a case."""
    device, vae, video = torch.device(case.device), make_vae(case), make_video(case)
    video = video.to(device, getattr(torch, case.dtype))
    encoding, decoding = options(case)
    count = case.views * case.frames
    encode, encode_mib, z = rate(lambda: vae.encode(video, **encoding), device, count, repeats)
    decode, decode_mib, _ = rate(lambda: vae.decode(z, **decoding), device, count, repeats)
    return Measured(encode, decode, encode_mib, decode_mib)


def rate(work: Callable[[], Tensor], device: torch.device, frames: int, repeats: int) -> tuple[float, float, Tensor]:
    """Return frames per second, the peak in MiB above what was in use, and the result; the first call warms up.

    Without ``repeats`` the first call is timed.
    """
    clock = time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    before, seconds = start_counting_memory(device), []
    for _ in range(1 + repeats):
        synchronize(device)
        started = clock()
        result = work()
        synchronize(device)
        seconds.append(clock() - started)
    return frames / statistics.median(seconds[1:] or seconds), peak_mib(device) - before, result


def predicted(case: Case) -> tuple[float, float]:
    """Return the peaks in GiB above weights and input of encoding and of decoding, counted on fake tensors."""
    torch.set_default_dtype(getattr(torch, case.dtype))
    try:
        with FakeTensorMode():
            vae = build_vae("wan2_1", dim=case.dim)
            video = torch.empty(case.views, 3, case.frames, case.height, case.width)
            latents = torch.empty(case.views, *vae.config.latent_shape(*video.shape[2:]))
            encoding, decoding = options(case)
            with PeakMemory() as encode:
                vae.encode(video, **encoding)
            with PeakMemory() as decode:
                vae.decode(latents, **decoding)
    finally:
        torch.set_default_dtype(torch.float32)
    return encode.peak / 2**30, decode.peak / 2**30


def seams(case: Case) -> Iterator[tuple[int, float, float]]:
    """Yield overlap, error of latents in deviations and PSNR of frames in dB, of tiles against whole images."""
    vae, video = make_vae(case), make_video(case).to(case.device, getattr(torch, case.dtype))
    z = vae.encode(video)
    images = vae.decode(z).float()
    span = float(images.max() - images.min())  # 2 of trained weights
    for share in (8, 4, 2):
        overlap = case.tile // share // 8 * 8
        tiled = vae.encode(video, tile=case.tile, overlap=overlap)
        joined = vae.decode(z, tile=case.tile, overlap=overlap)
        error = (tiled.float() - z.float()).square().mean().sqrt() / z.float().std()
        mse = float((joined.float() - images).square().mean())
        yield overlap, float(error), 10 * math.log10(span**2 / max(mse, 1e-12))


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options; sizes are small where there is no GPU."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--checkpoint", default="", help="tokenizer.pth; random weights without")
    add("--dim", type=int, default=96, help="width of random weights")
    add("--device", default="cuda" if cuda else "cpu")
    add("--sizes", nargs="+", default=["29x480x848", "29x704x1280"] if cuda else ["17x64x96"], metavar="TxHxW")
    add("--dtypes", nargs="+", default=["float32"], choices=["float32", "bfloat16"])
    add("--modes", nargs="+", default=["whole", "4", "16"], help="windows in frames, whole, tile")
    add("--views", type=int, default=1)
    add("--batch", nargs="+", type=int, default=[1], help="views that are computed at once")
    add("--tile", type=int, default=256 if cuda else 64, help="side of the tiles in pixels")
    add("--repeats", type=int, default=3 if cuda else 0, help="calls that are timed; 0: the first one")
    add("--seams", action="store_true", help="compare tiles with whole images")
    add("--predict", action="store_true", help="count memory on shapes alone")
    return parser.parse_args(arguments)


def main() -> None:
    """Measure and print."""
    args, out = parse(), sys.stdout.write
    with torch.device("meta"):
        count = count_parameters(build_vae("wan2_1", dim=args.dim))
    out(f"Wan2.1 VAE, width {args.dim}, {count:,} parameters; {machine(args.device)}; {time.strftime('%Y-%m-%d')}\n\n")
    network = (args.checkpoint, args.dim, args.views)
    cases = [
        Case(*network, batch, *map(int, size.split("x")), args.device, dtype, mode, args.tile)
        for size in args.sizes for dtype in args.dtypes for batch in args.batch for mode in args.modes
    ]  # fmt: skip
    if args.predict:
        print_prediction(cases)
        return
    print_speed(cases, args.repeats)
    if args.seams:
        print_seams([case for case in cases if case.mode == cases[0].mode and case.batch == cases[0].batch])


def print_prediction(cases: list[Case]) -> None:
    """Print the memory of each case."""
    out = sys.stdout.write
    out(table_head("T x H x W", "type", "views at once", "mode", "encode GiB", "decode GiB"))
    for case in cases:
        encode, decode = predicted(case)
        mode = f"tile {case.tile}" if case.mode == "tile" else case.mode
        out(row(case.size, case.dtype, case.at_once, mode, f"{encode:.2f}", f"{decode:.2f}"))
        sys.stdout.flush()


def print_speed(cases: list[Case], repeats: int) -> None:
    """Print the first table."""
    out = sys.stdout.write
    out(table_head("T x H x W", "type", "views at once", "mode", "encode frames/s", "decode frames/s", "encode MiB",
                   "decode MiB", "time of whole", "memory of whole"))  # fmt: skip
    whole: Measured | None = None
    for case in cases:
        with multiprocessing.get_context("spawn").Pool(1) as fresh:  # its own peak memory
            found = fresh.apply(measure, (case, repeats))
        whole = found if case.mode == "whole" else whole
        ratios = ("", "") if whole is None else compared(found, whole)
        numbers = (f"{found.encode:.3g}", f"{found.decode:.3g}", f"{found.encode_mib:.0f}", f"{found.decode_mib:.0f}")
        out(row(case.size, case.dtype, case.at_once, case.mode, *numbers, *ratios))
        sys.stdout.flush()


def compared(found: Measured, whole: Measured) -> tuple[str, str]:
    """Return time and memory relative to those of the whole video, encoding / decoding."""
    memory = (f"{a / max(b, 1e-9):.2f}" for a, b in zip(_memory(found), _memory(whole), strict=True))
    return f"{whole.encode / found.encode:.2f} / {whole.decode / found.decode:.2f}", " / ".join(memory)


def _memory(measured: Measured) -> tuple[float, float]:
    return measured.encode_mib, measured.decode_mib


def print_seams(cases: list[Case]) -> None:
    """Print the second table."""
    out = sys.stdout.write
    out("\n" + table_head("T x H x W", "type", "tile", "overlap", "latents, error / std", "frames, PSNR dB"))
    for case in cases:
        for overlap, error, psnr in seams(case):
            out(row(case.size, case.dtype, case.tile, overlap, f"{error:.4f}", f"{psnr:.1f}"))
            sys.stdout.flush()


if __name__ == "__main__":
    main()
