"""Speed and memory of video tokenizers: encode and decode per frame, whole clips against streams, as a Markdown table.

    python benchmarks/video_tokenizer.py --device cuda --dtypes float32 bfloat16 --modes whole stream compile
    OMP_NUM_THREADS=1 python benchmarks/video_tokenizer.py --quick

``whole`` runs the network on all frames at once, layer by layer, as published; ``stream`` gives the same numbers chunk
by chunk; ``tile`` streams tiles of 256 pixels; the others are ``whole`` in another memory layout or compiled. Weights
are random: speed does not depend on them. Memory is what is needed above the weights: the peak of the CUDA allocator,
or of the resident memory of the process (Linux only). Every row is measured in a fresh process. ms count encoding and
decoding, per frame.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import sys
import time
from dataclasses import dataclass

import torch

# the benchmark beside this one
from tokenizer import machine, median_seconds, parameters, peak_mib, start_counting_memory

from cosmos_lidar.models.tokenizer import build_tokenizer

QUICK = {"sizes": ["9x64x64", "33x64x64"], "repeats": 1, "channels": 64, "modes": ["whole", "stream"]}
MODES = ("whole", "stream", "tile", "channels_last", "compile")


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    channels: int
    frames: int
    height: int
    width: int
    device: str
    dtype: str
    mode: str


def measure(case: Case, repeats: int) -> tuple[float, float, float]:
    """Return ms per frame of encoding and of decoding, and the peak in MiB."""
    torch.manual_seed(0)
    device, dtype = torch.device(case.device), getattr(torch, case.dtype)
    network = build_tokenizer(case.name, channels=case.channels)
    network = network.eval().requires_grad_(False).to(device, dtype)
    video = torch.randint(0, 256, (case.frames, case.height, case.width, 3), dtype=torch.uint8)
    before = start_counting_memory(device)
    if case.mode in ("stream", "tile"):
        from cosmos_lidar.families.video_tokenizer.codec import VideoCodec  # needs more than torch

        codec = VideoCodec(network, device, dtype, chunk=1, tile=256 if case.mode == "tile" else None)
        frames = video.numpy()
        encoded = codec.encode(frames)
        encode = lambda: codec.encode(frames)  # noqa: E731
        decode = lambda: [None for _ in codec.decode(encoded)]  # noqa: E731
    else:
        x = (video.permute(3, 0, 1, 2)[None].float() / 127.5 - 1).to(device, dtype)
        encode, decode = whole(network, x, case.mode)
    with torch.inference_mode():
        seconds = [median_seconds(work, device, repeats) for work in (encode, decode)]
    return 1e3 * seconds[0] / case.frames, 1e3 * seconds[1] / case.frames, peak_mib(device) - before


def whole(network: torch.nn.Module, x: torch.Tensor, mode: str) -> tuple[object, object]:
    """Return the two calls of the plain network, after each has been made once."""
    if mode == "channels_last":
        network = network.to(memory_format=torch.channels_last_3d)
        x = x.contiguous(memory_format=torch.channels_last_3d)
    encode, decode = network.encode, network.decode
    if mode == "compile":
        encode, decode = torch.compile(encode), torch.compile(decode)
    with torch.inference_mode():
        made = encode(x)
        z = made[-1] if isinstance(made, tuple) else made
        decode(z)
    return lambda: encode(x), lambda: decode(z)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options; ``--quick`` changes the defaults, so that options beside it still count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--names", nargs="+", default=["CV8x8x8"])
    add("--channels", type=int, default=128)
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--sizes", nargs="+", default=["17x256x256", "17x512x512", "17x720x1280"], metavar="TxHxW")
    add("--dtypes", nargs="+", default=["float32"], choices=["float32", "bfloat16"])
    add("--modes", nargs="+", default=["whole", "stream"], choices=MODES)
    add("--repeats", type=int, default=3)
    add("--quick", action="store_true", help="a half-width network on small images, a minute on one core")
    if parser.parse_args(arguments).quick:
        parser.set_defaults(**QUICK)
    return parser.parse_args(arguments)


def main() -> None:
    """Measure and print."""
    args, out = parse(), sys.stdout.write
    with torch.device("meta"):
        counts = {name: parameters(build_tokenizer(name, channels=args.channels)) for name in args.names}
    shown = ", ".join(f"{name} {count:,} parameters" for name, count in counts.items())
    out(f"{shown}; {machine(args.device)}; {time.strftime('%Y-%m-%d')}\n\n")
    out("| tokenizer | T x H x W | type | mode | encode ms/frame | decode ms/frame | frames/s | peak MiB |\n")
    out("|---" * 8 + "|\n")
    for name, size, dtype, mode in itertools.product(args.names, args.sizes, args.dtypes, args.modes):
        case = Case(name, args.channels, *map(int, size.split("x")), args.device, dtype, mode)
        with multiprocessing.get_context("spawn").Pool(1) as fresh:  # its own peak memory, its own compile cache
            encode, decode, peak = fresh.apply(measure, (case, args.repeats))
        rate = 1e3 / (encode + decode)
        cells = (name, size, dtype, mode, f"{encode:.1f}", f"{decode:.1f}", f"{rate:.3g}", f"{peak:.0f}")
        out("| " + " | ".join(cells) + " |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
