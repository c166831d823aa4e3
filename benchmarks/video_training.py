"""Train a small video tokenizer from scratch on one's own videos, and score it on frames that it has not seen.

    OMP_NUM_THREADS=2 python benchmarks/video_training.py VIDEO.mp4 --out bench

The first three quarters of each video are trained on, in pieces; the last eighth is scored through the exported files,
streamed, beside what any compression to the same grid can do without learning: the mean over each block of pixels and
frames, shown again. "latent" counts 16 channels for the network, 3 for the mean.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizer import machine  # the benchmark beside this one

from cosmos_lidar.clips.footage import scaled
from cosmos_lidar.clips.video import VideoFile, write_mp4
from cosmos_lidar.families.video_tokenizer.codec import VideoCodec, from_uint8
from cosmos_lidar.families.video_tokenizer.job import make_network
from cosmos_lidar.metrics.image import psnr, ssim
from cosmos_lidar.models.tokenizer import load_tokenizer
from cosmos_lidar.recipes import video_tokenizer
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.videos import VIDEOS, find_videos, prepare_videos
from cosmos_lidar.training.overrides import apply_overrides

PIECE = 20  # frames


def cut(video: Path, short_size: int, folder: Path) -> np.ndarray:
    """Write pieces of the first three quarters to ``folder``, and return the last eighth, (T, H, W, 3)."""
    source = VideoFile(video)
    frames = scaled(np.stack([source(index) for index in range(len(source))]), short_size)
    used = len(frames) * 3 // 4 // PIECE * PIECE
    for start in range(0, used, PIECE):
        write_mp4(folder / f"{video.stem}_{start:06d}.mp4", frames[start : start + PIECE], 25.0)
    return frames[-(len(frames) // 8) :]


def block_means(frames: np.ndarray, time_step: int, step: int) -> np.ndarray:
    """Return the frames after averaging over ``time_step`` x ``step`` x ``step``, the first frame by itself."""
    x = torch.from_numpy(frames).permute(3, 0, 1, 2).float()[None]
    head, rest = x[:, :, :1], x[:, :, 1:]
    parts = [F.interpolate(F.avg_pool3d(head, (1, step, step), ceil_mode=True), size=head.shape[2:])]
    if rest.shape[2]:
        small = F.avg_pool3d(rest, (time_step, step, step), ceil_mode=True)
        parts.append(F.interpolate(small, size=rest.shape[2:]))
    return torch.cat(parts, 2)[0].permute(1, 2, 3, 0).round().to(torch.uint8).numpy()


def score(made: np.ndarray, frames: np.ndarray) -> tuple[float, float]:
    """Return mean PSNR (dB) and SSIM over frames."""
    ours, theirs = (from_uint8(x, torch.float32).transpose(0, 1) for x in (made, frames))
    return float(psnr(ours, theirs).mean()), float(ssim(ours, theirs).mean())


def rows(args: argparse.Namespace) -> list[tuple[str, float, float]]:
    """Train, and return (who, PSNR, SSIM) of the held-out frames of all videos."""
    pieces, shards = args.out / "pieces", args.out / "shards"
    pieces.mkdir(parents=True, exist_ok=True)
    held_out = [cut(video, args.short_size, pieces) for video in args.videos]
    if not (shards / VIDEOS).exists():
        prepare_videos(find_videos(pieces), shards, PrepareOptions(split=(0.85, 0.15)))
    options = [
        f"model.model={args.name}", "model.channels=64", "data.size=64", "data.frames=5", "data.batch_size=2",
        f"trainer.max_steps={args.steps}", "trainer.val_every=200", "trainer.val_batches=4", "trainer.save_every=0",
        "trainer.log_every=20", "model.ema.decay=0.98", "optim.lr=1e-3", "optim.warmup_steps=40",
        f"optim.decay_until={args.steps}", f"data.path={shards}", f"log.root={args.out}",
    ]  # fmt: skip
    run = apply_overrides(video_tokenizer.debug(), options)
    torch.manual_seed(run.trainer.seed)
    before = make_network(run)
    folder = video_tokenizer.train(run).folder / "checkpoints"
    networks = {"before training": before, "trained": load_tokenizer(folder / f"iter_{args.steps:09d}_ema.jit")}
    found = {name: [score(np.concatenate(list(codec.decode(codec.encode(x)))), x) for x in held_out]
             for name, codec in ((name, VideoCodec(network)) for name, network in networks.items())}  # fmt: skip
    found["block means"] = [score(block_means(x, 4, 8), x) for x in held_out]
    return [(name, *np.mean(values, axis=0)) for name, values in found.items()]


def main() -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO")
    parser.add_argument("--out", type=Path, required=True, help="folder for pieces, shards and the run")
    parser.add_argument("--name", default="CV4x8x8", help="tokenizer (default CV4x8x8, two levels of 64 and 128)")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--short-size", type=int, default=180)
    args = parser.parse_args()
    started = time.perf_counter()
    table = rows(args)
    out = sys.stdout.write
    out(f"{machine('cpu')}; {args.steps} steps, {time.perf_counter() - started:.0f} s with everything\n\n")
    out("| held-out frames | PSNR dB | SSIM |\n|---|---|---|\n")
    for name, decibels, similarity in table:
        out(f"| {name} | {decibels:.2f} | {similarity:.3f} |\n")


if __name__ == "__main__":
    main()
