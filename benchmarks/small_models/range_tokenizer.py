"""Fit ``small-lidar-tokenizer``: a CI8x8 with validity and expected error, on synthetic drives, in a minute.

    OMP_NUM_THREADS=1 python benchmarks/small_models/range_tokenizer.py lidar --out cosmos_lidar/weights

The network has Haar patches of 8 x 8 pixels and no attention. Its encoder gives the principal components of the patches
(``principal.py``): latents have mean 0 and deviation 1, and diffusion on them needs no ``mean_std.pt``. Its decoder is
fitted by the losses of the recipe: L1 of ranges with a return, cross-entropy of validity. The expected error is fitted
to the latents and their magnitudes, by the deviance of Poisson's distribution: it is calibrated on average where it is
large, too, which the likelihood of Laplace's is not for so simple a model. Residual blocks are there, all but one as
their shortcuts: post-training begins at the fit.

Maps are kept in the folder. ``benchmarks/range_codings.py`` compares the two codings with the same network and data.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from common import Card, add_cost, current_commit, held_out_seeds, parameters, train_seeds, write_card, write_weights
from lidar_scores import Row, score_drives, table
from lidar_sweeps import SENSORS, cast_drives, step_image
from principal import (
    SHAPE,
    add_magnitudes,
    context_of,
    fit,
    least_squares,
    patches_of,
    set_decoder,
    start_from_principal,
    with_magnitudes,
)
from torch import Tensor

from cosmos_lidar.models.tokenizer import Tokenizer, build_tokenizer, load_tokenizer
from cosmos_lidar.models.tokenizer.network import coded
from cosmos_lidar.models.tokenizer.range_coding import LOGIT_FACTOR, SCALE_AT_0, SCALE_FACTOR

NAME = "small-lidar-tokenizer"
PROGRAM = "benchmarks/small_models/range_tokenizer.py lidar"
IMAGES = 48
_LOGIT_SHIFT = 0.5  # toward returns: a missing point costs more than an additional one
_VALIDITY_SHARE = 0.01  # weight of validity in the principal components, beside ranges


def fitted(coding: str, drives: dict[int, np.ndarray], iterations: int, seed: int) -> Tokenizer:
    """Return a tokenizer of a coding that is fitted to synthetic drives.

    Args:
        coding: published or validity.
        drives: maps by seed.
        iterations: of L-BFGS, for each channel.
        seed: of images, and of the weights of residual blocks, which begin as their shortcuts.
    """
    torch.manual_seed(seed)
    network = build_tokenizer("CI8x8", **SHAPE, coding=coding, scale=coding == "validity").eval()
    found = [step_image(drives, number, seed) for number in range(IMAGES)]
    images = [image for image, _ in found]
    valid = torch.cat([patches_of(mask) for _, mask in found])
    inputs = [coded(image, network.config) for image in images]
    start_from_principal(network, inputs, (1.0, _VALIDITY_SHARE if coding == "validity" else 1.0, 1.0))
    context, target = context_of(network, images), torch.cat([patches_of(x[:, :1]) for x in inputs])
    counted = valid if coding == "validity" else torch.ones_like(valid)
    start = least_squares(context, target)
    ranges = fit(context, lambda made: _mean(smooth_l1(made, target), counted), start, iterations)
    if coding == "published":
        set_decoder(network, (ranges, ranges, ranges))
        return network
    start = least_squares(context, valid * 8 - 4)
    logits = fit(context, lambda made: F.binary_cross_entropy_with_logits(made, valid), start, iterations)
    logits[-1] += _LOGIT_SHIFT
    scale = fit_scale(with_magnitudes(context), (context @ ranges - target).abs(), valid, 2 * iterations)
    add_magnitudes(network)
    set_decoder(network, raw_weights(ranges, logits, scale))
    return network


def fit_scale(context: Tensor, error: Tensor, valid: Tensor, iterations: int) -> Tensor:
    """Return the weights (K, 64) of linear models of the logarithm of the expected error, by Poisson's deviance.

    At its minimum expected and measured errors have the same sum, weighted by each input: large errors count.

    Args:
        context: (N, K).
        error: (N, 64), absolute errors that were measured.
        valid: (N, 64), pixels that count.
        iterations: of L-BFGS.
    """
    start, mean = torch.zeros(context.shape[1], error.shape[1]), _mean(error, valid)
    start[-1] = mean.log()
    return fit(context, lambda made: _mean(made.exp() - error * made, valid) / mean, start, iterations)


def smooth_l1(made: Tensor, target: Tensor) -> Tensor:
    """Return the absolute error, quadratic below a hundredth of half the range of images."""
    return F.smooth_l1_loss(made, target, beta=0.01, reduction="none")


def raw_weights(ranges: Tensor, logits: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return linear models of a network's raw channels, whose factors the coding has, of those of its decoded ones."""
    shift = torch.zeros_like(log_scale)
    shift[-1] = SCALE_AT_0
    return ranges, logits / LOGIT_FACTOR, (log_scale - shift) / SCALE_FACTOR


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    return (values * counted).sum() / counted.sum()


def main() -> int:
    """Cast, fit, score, write."""
    args = parse()
    seeds, others = train_seeds(args.train), held_out_seeds(args.held_out)
    drives, started = cast_drives(args.folder / "drives", seeds, args.jobs), time.process_time()
    commit = current_commit()
    network = fitted("validity", drives, args.iterations, args.seed)
    cost = add_cost(args.folder / f"validity_{time.time_ns()}", time.process_time() - started, commit)
    folder = args.out / NAME
    write_weights(folder, network.state_dict(), {"family": "lidar_tokenizer", "coding": "validity", "scale": True})
    rows = score_drives({"tokenizer": load_tokenizer(folder / "model.safetensors")}, others)
    write_card(folder, _card(args, seeds, others, rows, cost.cpu_s), cost, parameters(network.state_dict()))
    sys.stdout.write(f"{table(rows)}\n{folder}\n")
    return 0


def _card(args: argparse.Namespace, seeds: range, others: range, rows: list[Row], cpu_s: float) -> Card:
    sensors = ", ".join(dict.fromkeys(SENSORS))
    data = (
        f"{len(seeds)} synthetic drives (seeds {seeds.start} to {seeds.stop - 1}) of {sensors}, 4 sweeps each; "
        f"{len(others)} held-out drives of uniform64 to score on (seeds {others.start} to {others.stop - 1})."
    )
    training = (
        f"principal components of {IMAGES} range images of 128 x 512 pixels, 16 to 128 rows repeated 8 to 1 times, "
        f"turned, mirrored and scaled at random, then at most {args.iterations} steps of L-BFGS for each channel of "
        f"the decoder, {2 * args.iterations} for the expected error; coding validity with scale, seed {args.seed}, "
        f"{cpu_s:.0f} s of one core."
    )
    metrics = [(f"{row.name}: {name}", f"{value:.4f}") for row in rows for name, value in row.values.items()]
    return Card(_WHAT, data, training, PROGRAM, metrics, _LIMITS)


_WHAT = (
    "A CI8x8 lidar tokenizer: 8 x 8 pixels of a range image into 16 latent channels of mean 0 and deviation 1. It "
    "decodes range, validity and the expected error of each pixel. `--checkpoint small` of `cosmos-lidar autoencode` "
    "and `evaluate`, `--lidar-tokenizer small` of `encode-views` and `generate-lidar`, `model.checkpoint=small` of "
    "`recipes/lidar_tokenizer.py`."
)
_LIMITS = (
    "A linear fit, on synthetic streets alone: no trees with leaves, rain, or mirrors. Recordings are reconstructed "
    "less exactly than synthetic drives; post-train it on them. It is not comparable with the published tokenizer of "
    "79.9 M parameters."
)


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_fit_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="such as cosmos_lidar/weights")
    return parser.parse_args()


def add_fit_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that the comparison of codings has, too."""
    add = parser.add_argument
    add("folder", type=Path, help="for maps of the drives")
    add("--train", type=int, default=48, help="drives to fit (default %(default)s)")
    add("--held-out", type=int, default=6, help="others to score on (default %(default)s)")
    add("--iterations", type=int, default=30, help="of L-BFGS, for each channel (default %(default)s)")
    add("--seed", type=int, default=0, help="of images and weights (default %(default)s)")
    add("--jobs", type=int, default=1, help="processes that cast drives")


if __name__ == "__main__":
    sys.exit(main())
