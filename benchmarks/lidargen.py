"""Speed and memory of camera-to-lidar diffusion, random weights: seconds for a range map, training samples a second.

    OMP_NUM_THREADS=1 python benchmarks/lidargen.py --shapes faditv2_3m:8x32:8x16:3 --settings 2ab:35 ddim:4
    python benchmarks/lidargen.py --device cuda --shapes faditv2_7b:64x224:88x160:3 --modes published dense compiled

A shape is network:latents of the range map:latents of an image:cameras. ``published`` runs the whole canvas with
text of zeros and guidance, two evaluations for one, as the published sampler does; ``plain`` leaves out what changes
nothing (guidance, text); ``dense`` also the unfilled canvas; ``compiled`` compiles that. Latents only: tokenizers have
their own benchmark. ``--train`` measures a training step of the plain network. Memory is the peak above the weights.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import torch
from tokenizer import machine, median_seconds, parameters, peak_mib, start_counting_memory
from torch import Tensor, nn

from cosmos_lidar.diffusion.edm import sigma_ladder
from cosmos_lidar.diffusion.samplers import evaluations, solve
from cosmos_lidar.families.lidargen.canvas import CanvasLayout
from cosmos_lidar.families.lidargen.denoiser import LidarGenDenoiser, draw_sigma_aug, sample_lidar
from cosmos_lidar.models.dit import build_dit

MODES = ("published", "plain", "dense", "compiled")


@dataclass(frozen=True)
class Shape:
    """A network and its canvas."""

    name: str
    layout: CanvasLayout

    @classmethod
    def parse(cls, text: str) -> Shape:
        """Read ``network:HxW:HxW:cameras``."""
        name, lidar, image, views = text.split(":")
        sides = [tuple(int(side) for side in size.split("x")) for size in (lidar, image)]
        return cls(name, CanvasLayout(*sides, int(views)))


class WithGuidance(nn.Module):
    """The network as the published sampler calls it: with text of zeros, twice."""

    def __init__(self, network: nn.Module, text: Tensor) -> None:
        super().__init__()
        self.network, self.text, self.config = network, text, network.config

    def forward(self, x: Tensor, timesteps: Tensor, condition_mask: Tensor, text: None = None) -> Tensor:
        """Return conditioned + 1.5 (conditioned - unconditioned), which are the same."""
        inputs = {"x": x, "timesteps": timesteps, "condition_mask": condition_mask}
        first, second = (self.network(text=self.text.expand(len(x), -1, -1), **inputs) for _ in range(2))
        return first + 1.5 * (first - second)


def sampling_rows(shape: Shape, args: argparse.Namespace, device: torch.device, dtype: torch.dtype) -> list[str]:
    """Return a row for each way of running and each setting."""
    layout, rows = shape.layout, []
    network = build_dit(shape.name, n_views=1 + layout.views, n_views_emb=max(4, 1 + layout.views))
    network = network.to(device, dtype).eval().requires_grad_(False)
    images = torch.randn(1, layout.views, 16, *layout.image, device=device)
    text = torch.zeros(1, 512 * (1 + layout.views), network.config.crossattn_emb_channels, device=device, dtype=dtype)
    for mode in args.modes:
        dense = mode in ("dense", "compiled")
        asked = WithGuidance(network, text) if mode == "published" else network
        if mode == "compiled":
            network.compile()
        denoiser = LidarGenDenoiser(asked, layout, compute_dtype=dtype, dense=dense)
        tokens = len(layout.kept()) if dense else (1 + layout.views) * layout.size[0] * layout.size[1] // 4
        for setting in args.settings:
            sampler, steps = setting.split(":")
            schedule = sigma_ladder(int(steps))

            def sample(sampler: str = sampler, schedule: Tensor = schedule, denoiser: nn.Module = denoiser) -> Tensor:
                return sample_lidar(denoiser, images, lambda x0, noise: solve(sampler, x0, noise, schedule), [1])

            if mode == "compiled":
                sample()  # compiles
            before = start_counting_memory(device)
            seconds = median_seconds(sample, device, args.repeats)
            count = evaluations(sampler, int(steps)) * (2 if mode == "published" else 1)
            cells = (shape.name, mode, f"{tokens:,}", sampler, count, f"{seconds:.3g}", f"{1e3 * seconds / count:.1f}",
                     f"{peak_mib(device) - before:.0f}")  # fmt: skip
            rows.append("| " + " | ".join(map(str, cells)) + " |")
            sys.stderr.write(rows[-1] + "\n")
    return rows


def training_row(shape: Shape, args: argparse.Namespace, device: torch.device, dtype: torch.dtype) -> str:
    """Return training samples per second, and the ratio to the peak FLOP/s."""
    from cosmos_lidar.training.measure.flops import peak_tflops, training_flops

    layout = shape.layout
    network = build_dit(shape.name, n_views=1 + layout.views, n_views_emb=max(4, 1 + layout.views)).to(device)
    denoiser = LidarGenDenoiser(network, layout, compute_dtype=torch.float32)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    canvas = torch.randn(args.batch, 16, 1 + layout.views, *layout.size, device=device)
    sigma, level = (draw_sigma_aug(args.batch).to(device) for _ in range(2))

    def step() -> Tensor:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            made = denoiser(canvas + sigma.view(-1, 1, 1, 1, 1), sigma, canvas, level, torch.randn_like(canvas))
        loss = (made - canvas).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    step()
    before = start_counting_memory(device)
    seconds = median_seconds(step, device, args.repeats)
    with torch.device("meta"):
        empty = build_dit(shape.name, n_views=1 + layout.views, n_views_emb=max(4, 1 + layout.views))
    inputs = (torch.empty(args.batch, *canvas.shape[1:], device="meta"), torch.empty(args.batch, device="meta"))
    flops, peak = training_flops(empty, inputs), peak_tflops(args.peak_tflops, "bf16")
    share = f"{flops / seconds / peak / 1e12:.1%}" if peak else "–"
    return (
        f"| {shape.name} | {parameters(network) / 1e6:.1f} M | {args.batch} | {args.batch / seconds:.3g} | "
        f"{flops / seconds / 1e12:.3g} | {share} | {peak_mib(device) - before:.0f} |"
    )


def main() -> int:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", help="float32 on a CPU, bfloat16 on a GPU, if not given")
    parser.add_argument("--shapes", nargs="+", default=["faditv2_3m:8x32:8x16:3"])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES[:3]))
    parser.add_argument("--settings", nargs="+", default=["2ab:35", "dpm++2m:8", "ddim:4"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--train", action="store_true", help="measure training steps, too")
    parser.add_argument("--batch", type=int, default=8, help="of training")
    parser.add_argument("--peak-tflops", type=float, default=0.0, help="of the device; known GPUs need none")
    args = parser.parse_args()
    device = torch.device(args.device)
    dtype = getattr(torch, args.dtype or ("bfloat16" if device.type == "cuda" else "float32"))
    shapes = [Shape.parse(text) for text in args.shapes]
    sampled = [row for shape in shapes for row in sampling_rows(shape, args, device, dtype)]
    sys.stdout.write(f"{machine(args.device)}, {dtype}\n\n")
    sys.stdout.write("| network | mode | tokens | sampler | evaluations | s/map | ms/evaluation | MiB |\n")
    sys.stdout.write("|---|---|---|---|---|---|---|---|\n" + "\n".join(sampled) + "\n")
    if args.train:
        trained = [training_row(shape, args, device, dtype) for shape in shapes]
        sys.stdout.write("\n| network | parameters | batch | samples/s | TFLOP/s | of the peak | MiB |\n")
        sys.stdout.write("|---|---|---|---|---|---|---|\n" + "\n".join(trained) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
