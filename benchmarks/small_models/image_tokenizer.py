"""Fit ``small-image-tokenizer``: a CI8x8 on camera images of synthetic drives, in a minute.

    OMP_NUM_THREADS=1 python benchmarks/small_models/image_tokenizer.py camera --out cosmos_lidar/weights

As ``range_tokenizer.py``: the encoder gives the principal components of patches of 8 x 8 pixels, the decoder is fitted
to the latents of 3 x 3 positions, by least squares. Images are kept in the folder.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from camera_drives import HEIGHT, WIDTH, render_drives
from common import Card, add_cost, current_commit, held_out_seeds, parameters, train_seeds, write_card, write_weights
from principal import SHAPE, context_of, least_squares, patches_of, set_decoder, start_from_principal
from torch import Tensor, nn

from cosmos_lidar.models.tokenizer import Tokenizer, build_tokenizer, load_tokenizer

NAME = "small-image-tokenizer"
PROGRAM = "benchmarks/small_models/image_tokenizer.py camera"
BATCH, BATCHES = 8, 48


def images_of(videos: dict[int, np.ndarray]) -> np.ndarray:
    """Return (N, 64, 112, 3) uint8 of the videos of drives, (cameras, T, 64, 112, 3) each."""
    return np.concatenate([video.reshape(-1, *video.shape[2:]) for video in videos.values()])


def batches_of(images: np.ndarray, count: int, seed: int) -> list[Tensor]:
    """Return batches (8, 3, 64, 112) in [-1, 1] of random images."""
    rng = np.random.default_rng(seed)
    return [as_input(images[rng.integers(len(images), size=BATCH)]) for _ in range(count)]


def as_input(images: np.ndarray) -> Tensor:
    """Return (N, 3, H, W) in [-1, 1] of (N, H, W, 3) uint8."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def fitted(images: np.ndarray, seed: int) -> Tokenizer:
    """Return a tokenizer that is fitted to images.

    Args:
        images: (N, 64, 112, 3) uint8.
        seed: of the images, and of the weights of residual blocks, which begin as their shortcuts.
    """
    torch.manual_seed(seed)
    network, batches = build_tokenizer("CI8x8", **SHAPE).eval(), batches_of(images, BATCHES, seed)
    start_from_principal(network, batches, (1.0, 1.0, 1.0))
    context = context_of(network, batches)
    red, green, blue = (
        least_squares(context, torch.cat([patches_of(batch[:, channel : channel + 1]) for batch in batches]))
        for channel in range(3)
    )
    set_decoder(network, (red, green, blue))
    return network


@torch.no_grad()
def score(network: nn.Module, images: np.ndarray) -> dict[str, float]:
    """Return PSNR in dB of images (N, H, W, 3) through a tokenizer, and as averages of 8 x 8 pixels."""
    found: dict[str, list[float]] = {"tokenizer": [], "8 x 8 averages": []}
    for image in images:
        wanted = as_input(image[None])
        averages = F.interpolate(F.avg_pool2d(wanted, 8), scale_factor=8, mode="bilinear")
        for name, made in zip(found, (network.decode(network.encode(wanted)), averages), strict=True):
            error = (made.clamp(-1, 1) - wanted).square().mean() / 4
            found[name].append(float(-10 * error.log10()))
    return {name: sum(values) / len(values) for name, values in found.items()}


def main() -> int:
    """Render, train, score, write."""
    args = parse()
    seeds, others = train_seeds(args.train), held_out_seeds(args.held_out)
    videos = render_drives(args.folder / "videos", [*seeds, *others], args.jobs)
    images, held_out = (images_of({seed: videos[seed] for seed in some}) for some in (seeds, others))
    started, commit = time.process_time(), current_commit()
    network = fitted(images, args.seed)
    cost = add_cost(args.folder / f"image_{time.time_ns()}", time.process_time() - started, commit)
    folder = args.out / NAME
    write_weights(folder, network.state_dict(), {"family": "video_tokenizer"})
    found = score(load_tokenizer(folder / "model.safetensors"), held_out[::4])
    data = (
        f"{len(seeds)} synthetic drives (seeds {seeds.start} to {seeds.stop - 1}), {len(others)} held-out drives to "
        f"score on (seeds {others.start} to {others.stop - 1}); images of three cameras, {HEIGHT} x {WIDTH} pixels."
    )
    training = (
        f"principal components of {BATCHES * BATCH} images, then least squares for the decoder, in closed form: no "
        f"steps; seed {args.seed}, {cost.cpu_s:.0f} s of one core."
    )
    metrics = [(f"PSNR of {len(held_out[::4])} images, {name}", f"{value:.2f} dB") for name, value in found.items()]
    write_card(folder, Card(_WHAT, data, training, PROGRAM, metrics, _LIMITS), cost, parameters(network.state_dict()))
    sys.stdout.write(f"{found}: {folder}\n")
    return 0


_WHAT = (
    "A CI8x8 image tokenizer: 8 x 8 pixels into 16 latent channels of mean 0 and deviation 1. `--checkpoint small` of "
    "`cosmos-lidar tokenize` and `reconstruct`, `--image-tokenizer small` of `encode-views` and `generate-lidar`; "
    "camera-to-lidar networks are conditioned on its latents."
)
_LIMITS = (
    "A linear fit on small images of synthetic drives alone: textures finer than a few pixels are lost, and "
    "photographs come back blurred. It shows the way of the data, not what the published width can do."
)


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("folder", type=Path, help="for images")
    add("--train", type=int, default=16, help="drives to fit (default %(default)s)")
    add("--held-out", type=int, default=3, help="others to score on (default %(default)s)")
    add("--seed", type=int, default=0, help="of images and weights (default %(default)s)")
    add("--jobs", type=int, default=1, help="processes that render")
    add("--out", type=Path, required=True, metavar="DIR", help="such as cosmos_lidar/weights")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
