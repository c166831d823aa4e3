"""Train ``small-multiview-vae``: a Wan2.1 video VAE 8 channels wide, on videos of synthetic drives.

    OMP_NUM_THREADS=1 python benchmarks/small_models/video_vae.py camera --out cosmos_lidar/weights

The network is ``build_vae("wan2_1", dim=8)``: 4 x 8 x 8 compression into 16 channels, published parameter names. It
starts as principal components, fitted layer by layer (``layerwise_fit.py``): from random weights the error falls ten
times slower. It is trained on random crops of 5 frames, with L1 and a little of the KL divergence to the standard
normal. At the end its latents are scaled to the published mean and standard deviation of each channel by its last
layer, and scaled back by the first layer of the decoder, which changes no image: ``load_vae`` then gives normalized
latents, as of the published weights. Scored is the PSNR of whole videos of other drives, against averages of 8 x 8
pixels.

Videos and the state of the training are kept in the folder; the same command line goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from camera_drives import HEIGHT, VIEW_IDS, WIDTH, render_drives
from common import (
    Card,
    add_cost,
    current_commit,
    held_out_seeds,
    parameters,
    read_cost,
    train_seeds,
    write_card,
    write_weights,
)
from layerwise_fit import fit_layers
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, l1_loss

from cosmos_lidar.files import atomic_write
from cosmos_lidar.models.wan_vae import WanVAE, build_vae, load_vae
from cosmos_lidar.models.wan_vae.memory import StreamMemory
from cosmos_lidar.progress import Meter

NAME = "small-multiview-vae"
PROGRAM = "benchmarks/small_models/video_vae.py camera"
WINDOW = 9  # frames that PSNR is measured over
_CROP, _CROP_FRAMES, _BATCH = 64, 5, 2
_KL, _EMA = 1e-4, 0.99
_FITTED = 24  # videos that the start is fitted to
_SAVE_EVERY = 25


@dataclass
class Training:
    """A network in training, its EMA, and where it is."""

    vae: WanVAE
    average: WanVAE
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    step: int = 0

    def save(self, path: Path) -> None:
        """Write everything to one file."""
        parts = {name: getattr(self, name).state_dict() for name in ("vae", "average", "optimizer", "schedule")}
        with atomic_write(path) as partial:
            torch.save({**parts, "step": self.step}, partial)

    def load(self, path: Path) -> None:
        """Read what :meth:`save` wrote."""
        state = torch.load(path, weights_only=True)
        for name in ("vae", "average", "optimizer", "schedule"):
            getattr(self, name).load_state_dict(state[name])
        self.step = state["step"]


def new_training(args: argparse.Namespace, videos: np.ndarray) -> Training:
    """Return a network that was not trained yet: fitted to videos (N, T, H, W, 3), from a file where it was before."""
    steps, lr, start = args.steps, args.lr, args.folder / "start.pt"
    torch.manual_seed(args.seed)
    vae = build_vae("wan2_1", dim=8).train()
    if start.is_file():
        vae.load_state_dict(torch.load(start, weights_only=True))
    else:
        fit_layers(vae, as_input(videos[:: max(len(videos) // _FITTED, 1)][:_FITTED, :WINDOW]))
        with atomic_write(start) as partial:
            torch.save(vae.state_dict(), partial)
    average = build_vae("wan2_1", dim=8)
    average.load_state_dict(vae.state_dict())
    optimizer = torch.optim.AdamW(vae.parameters(), lr, betas=(0.9, 0.99), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps, pct_start=0.1)
    return Training(vae, average.requires_grad_(False).eval(), optimizer, schedule)


def crops(videos: np.ndarray, step: int, seed: int) -> Tensor:
    """Return the batch of a step: (2, 3, 5, 64, 64) in [-1, 1], mirrored at random, the same every time.

    Args:
        videos: (N, T, H, W, 3) uint8.
        step: of the training.
        seed: of the run.
    """
    rng, parts = np.random.default_rng([seed, step]), []
    for _ in range(_BATCH):
        video = videos[rng.integers(len(videos))]
        start, top, left = (rng.integers(n + 1) for n in np.array(video.shape[:3]) - (_CROP_FRAMES, _CROP, _CROP))
        part = video[start : start + _CROP_FRAMES, top : top + _CROP, left : left + _CROP]
        part = part[::-1] if rng.random() < 0.5 else part
        parts.append(part[:, :, ::-1] if rng.random() < 0.5 else part)
    return as_input(np.stack(parts))


def as_input(videos: np.ndarray) -> Tensor:
    """Return (N, 3, T, H, W) in [-1, 1] of (N, T, H, W, 3) uint8."""
    return torch.from_numpy(np.ascontiguousarray(videos)).permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def train_step(training: Training, batch: Tensor, seed: int) -> float:
    """Take one step; return the mean absolute error of the reconstruction."""
    torch.manual_seed(seed * 1_000_003 + training.step)
    mean, spread = training.vae.moments(batch, StreamMemory(keep=False)).chunk(2, dim=1)
    log_variance = spread.clamp(-20.0, 5.0)
    latents = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
    error = l1_loss(training.vae.images(latents, StreamMemory(keep=False)), batch)
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
    training.optimizer.zero_grad()
    (error + _KL * divergence).backward()
    nn.utils.clip_grad_norm_(training.vae.parameters(), 1.0)
    training.optimizer.step()
    training.schedule.step()
    training.step += 1
    decay = min(_EMA, training.step / (training.step + 9))
    with torch.no_grad():
        for mine, its in zip(training.average.parameters(), training.vae.parameters(), strict=True):
            mine.lerp_(its, 1 - decay)
    return float(error.detach())


def train(args: argparse.Namespace, videos: np.ndarray) -> WanVAE:
    """Train, or go on; return the EMA."""
    started, state, commit = time.process_time(), args.folder / "vae.pt", current_commit()
    training = new_training(args, videos)
    if state.is_file():
        training.load(state)
    with Meter("train", "steps", args.steps - training.step) as meter:
        while training.step < args.steps:
            error = train_step(training, crops(videos, training.step, args.seed), args.seed)
            meter.advance(1)
            if training.step % _SAVE_EVERY == 0 or training.step == args.steps:
                training.save(state)
                add_cost(args.folder, time.process_time() - started, commit)
                started = time.process_time()
                sys.stderr.write(f"step {training.step}: mean absolute error {127.5 * error:.2f} of 255\n")
    return training.average


@torch.no_grad()
def normalized(vae: WanVAE, videos: np.ndarray) -> WanVAE:
    """Scale the latents of a VAE to the published mean and deviation of each channel, and back before decoding.

    Args:
        vae: changed in place.
        videos: (N, T, H, W, 3) uint8, whose latents give the present mean and deviation.
    """
    config = vae.config
    wanted_mean, wanted_std = torch.tensor(config.latent_mean), torch.tensor(config.latent_std)
    latents = torch.cat([vae.denormalize(vae.encode(as_input(one[None, :WINDOW]))) for one in videos])
    mean, std = latents.mean(dim=(0, 2, 3, 4)), latents.std(dim=(0, 2, 3, 4))
    scale, channels = wanted_std / std, config.latent_channels
    shift = wanted_mean - mean * scale
    vae.conv1.weight[:channels] *= scale.view(-1, 1, 1, 1, 1)
    vae.conv1.bias[:channels] = vae.conv1.bias[:channels] * scale + shift
    vae.conv1.bias[channels:] += 2 * scale.log()
    vae.conv2.bias -= vae.conv2.weight[:, :, 0, 0, 0] @ (shift / scale)
    vae.conv2.weight /= scale.view(1, -1, 1, 1, 1)
    return vae


def psnr_db(images: Tensor, videos: Tensor) -> float:
    """Return the PSNR of one reconstructed video in [-1, 1], against 255."""
    error = (images.clamp(-1, 1) - videos).square().mean() / 4
    return float(-10 * error.log10())


@torch.no_grad()
def score(vae: WanVAE, videos: np.ndarray) -> tuple[float, float]:
    """Return mean PSNR of videos (N, T, H, W, 3), and that of averages of 8 x 8 pixels, scaled back bilinearly."""
    found = []
    for video in videos:
        wanted = as_input(video[None, :WINDOW])
        frames = wanted[0].transpose(0, 1)
        small = avg_pool2d(frames, vae.config.spatial_compression)
        blurred = torch.nn.functional.interpolate(small, frames.shape[-2:], mode="bilinear")
        found.append((psnr_db(vae.decode(vae.encode(wanted)), wanted), psnr_db(blurred, frames)))
    ours, averages = (sum(values) / len(values) for values in zip(*found, strict=True))
    return ours, averages


def main() -> int:
    """Render, train, score, write."""
    args = parse()
    args.folder.mkdir(parents=True, exist_ok=True)
    seeds, others = train_seeds(args.train), held_out_seeds(args.held_out)
    found = render_drives(args.folder / "videos", [*seeds, *others], args.jobs)
    videos, held_out = (np.concatenate([found[seed] for seed in some]) for some in (seeds, others))
    vae = normalized(train(args, videos), videos[:: max(len(videos) // 24, 1)])
    state = vae.state_dict()
    folder = args.out / NAME
    write_weights(folder, state, {"family": "multiview", "network": {"name": "wan2_1", "dim": vae.config.dim}})
    ours, averages = score(load_vae(folder / "model.safetensors"), held_out)
    metrics = [
        (f"PSNR of {len(held_out)} videos of {WINDOW} frames, {HEIGHT} x {WIDTH}", f"{ours:.2f} dB"),
        ("PSNR of averages of 8 x 8 pixels (64 times fewer numbers; the VAE's latents 48 times)", f"{averages:.2f} dB"),
    ]
    data = (
        f"{len(seeds)} synthetic drives (seeds {seeds.start} to {seeds.stop - 1}), {len(others)} others to score on "
        f"(seeds {others.start} to {others.stop - 1}); of each drive, {found[others[0]].shape[1]} frames of "
        f"{len(VIEW_IDS)} cameras at 10 Hz, {HEIGHT} x {WIDTH} pixels."
    )
    cost = read_cost(args.folder)
    if cost is None:
        raise RuntimeError("no training has ended")
    training = (
        f"A start fitted layer by layer to {_FITTED} videos, {args.steps} steps of {_BATCH} crops of {_CROP_FRAMES} x "
        f"{_CROP} x {_CROP}, L1 and {_KL:g} of the KL divergence, seed {args.seed}, EMA weights, "
        f"{cost.cpu_s / 60:.1f} minutes of one core."
    )
    write_card(folder, Card(_WHAT, data, training, PROGRAM, metrics, _LIMITS), cost, parameters(state))
    sys.stdout.write(f"PSNR {ours:.2f} dB, averages of 8 x 8 pixels {averages:.2f} dB: {folder}\n")
    return 0


_WHAT = (
    "A video VAE with the structure and the parameter names of Wan2.1's, 8 channels wide: 4 x 8 x 8 compression into "
    "16 channels, latents normalized by the published statistics. `--vae small` of `cosmos-lidar generate-views` and "
    "`data.vae.checkpoint=small` of `recipes/multiview.py`; `small-multiview` generates its latents."
)
_LIMITS = (
    "Small images of synthetic drives alone: what is finer than a few pixels is lost, and recordings are blurred and "
    "change in color. It shows the way of the data, not what the network can do with its published width of 96."
)


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("folder", type=Path, help="for videos and the state of the training")
    add("--train", type=int, default=28, help="drives to train on (default %(default)s)")
    add("--held-out", type=int, default=4, help="others to score on (default %(default)s)")
    add("--steps", type=int, default=900, help="of 2 crops (default %(default)s)")
    add("--lr", type=float, default=1e-3, help="highest learning rate (default %(default)s)")
    add("--seed", type=int, default=0, help="of weights and batches (default %(default)s)")
    add("--jobs", type=int, default=1, help="processes that render")
    add("--out", type=Path, required=True, metavar="DIR", help="write the model here, such as cosmos_lidar/weights")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
