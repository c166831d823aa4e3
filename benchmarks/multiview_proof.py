"""Small multi-view networks on synthetic drives: next frames from one, against repetition and reprojection.

    OMP_NUM_THREADS=1 python benchmarks/multiview_proof.py proof     # renders, trains each attention scope, scores

Drives and runs are kept in the folder, and made once. Networks are trained by the recipe of the family
(``--train-options`` changes it), with three cameras whose latents are pixels (``multiview_drives.py``).
With ``--controls none depth`` each scope is also trained with control videos of exact depth, and sampled with them.
Scored are the frames after the given one, of drives that were not trained on:

- PSNR in dB of each, over all views, mean over windows, and how much that is above repeating the given frame, with a
  95 % interval over drives;
- the difference (RMS, of 255) between the colors that two neighboring cameras show of the same point at rest, which
  recorded depth and poses find. Recorded images have one, too: glancing pixels average other surfaces. That of two
  samples which share nothing but the given frame is beside it.

``reprojection`` takes the color of each pixel from the given frames of all views, by the depth and the pose of the
frame that is to be predicted, which no prediction has; what moves is taken to rest.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from multiview_drives import (
    VIEW_IDS,
    AveragingSpace,
    Layout,
    Seen,
    Window,
    averaged_images,
    color_differences,
    make_drives,
    motion_compensated,
    read_windows,
    static_points,
)
from tokenizer import machine

from cosmos_lidar.diffusion.conditional_flow import ConditionalFlow
from cosmos_lidar.diffusion.samplers import evaluations
from cosmos_lidar.families.multiview.config import MultiviewDataConfig
from cosmos_lidar.families.multiview.generator import ViewGenerator, ViewSampling
from cosmos_lidar.families.multiview.inputs import ViewInput
from cosmos_lidar.metrics.bootstrap import bootstrap_mean
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.weights import load_dit_weights
from cosmos_lidar.recipes import multiview
from cosmos_lidar.training.overrides import apply_overrides

SCOPES = ("all_views", "same_view_or_frame")
REPEATED = "repeat the given frame"
_TINY = {"train": 1, "held_out": 2, "windows": 1, "steps": 2, "settings": ["2ab:1"], "size": "32x48"}

Predict = Callable[[Window, int], np.ndarray]  # of a window and its number: averaged images (V, T, h, w, 3)


@dataclass(frozen=True)
class HeldOut:
    """A window to predict.

    Attributes:
        drive: its seed.
        window: images with exact depth and poses.
        images: (V, T, h, w, 3) averaged.
        points: that neighboring views share.
    """

    drive: int
    window: Window
    images: np.ndarray
    points: list[Seen]


@dataclass(frozen=True)
class Row:
    """One method: PSNR of each frame in dB, their mean, that above repetition with its interval, and consistency."""

    name: str
    psnr_db: list[float]
    mean_db: float
    gain_db: float
    gain_interval: tuple[float, float] | None
    views_rms: float
    seconds: float


class PixelData(MultiviewDataConfig):
    """Options of the data whose latents have a frame each."""

    @property
    def frames(self) -> int:
        """Frames of a view's video."""
        return self.state_t


def train(args: argparse.Namespace, layout: Layout, scope: str, shards: Path, control: str) -> tuple[Any, Path]:
    """Train with one attention scope, or find it trained; return the configuration and the weights."""
    name, kinds = (scope, "[]") if control == "none" else (f"{scope}_{control}", f"[{control}]")
    shape = str(layout.latent_shape).replace(" ", "")
    run = apply_overrides(
        multiview.debug(),
        [
            "synthetic_clips=0", f"data.path={shards}", f"data.latent_shape={shape}", "data.text_shape=[]",
            f"data.view_ids={list(VIEW_IDS)}".replace(" ", ""), "data.batch_size=4", "data.shuffle=64",
            "model.name=predict2_small_multiview", f"model.attention_scope={scope}", "model.condition.frames=[1]",
            "model.noise.high_ratio=0.2", "optim.lr=0.002", "optim.weight_decay=0.01", "optim.warmup_steps=100",
            f"trainer.max_steps={args.steps}", "trainer.log_every=50", "trainer.val_every=1000",
            "trainer.val_batches=25", "trainer.val_at_start=false", "trainer.save_every=1000",
            "trainer.keep_last=1", "log.tensorboard=false", f"log.root={args.folder / 'runs'}", f"log.name={name}",
            f"model.control.kinds={kinds}",
            *args.train_options,
        ],
    )  # fmt: skip
    folder = Path(multiview.train(run).folder)
    return run, folder / "checkpoints" / "published" / "model" / f"iter_{args.steps:09d}.pt"


def open_generator(run: Any, checkpoint: Path) -> ViewGenerator:
    """Return the generator of a trained network, EMA weights."""
    with torch.device("meta"):
        network = build_dit(run.model.name, **run.shape())
    load_dit_weights(network, checkpoint, ema=True)
    flow = ConditionalFlow(network.eval().requires_grad_(False))
    data, controls = PixelData(**vars(run.data)), tuple(run.model.control.kinds)
    sampling: Any = ViewSampling(guidance=0.0)
    return ViewGenerator(flow, AveragingSpace(), data, sampling, controls=controls)  # type: ignore[arg-type]


def sampled(generator: ViewGenerator, setting: str, shift: int = 0) -> Predict:
    """Return the method that samples with ``sampler:steps``; each window has its own seed, which ``shift`` changes."""
    sampler, steps = setting.split(":")
    chosen = replace(generator, sampling=replace(generator.sampling, sampler=sampler, steps=int(steps)))

    def predict(window: Window, number: int) -> np.ndarray:
        frames = window.video[:, :, :1]
        controls = {kind: window.depth_video for kind in chosen.controls}
        given = ViewInput(str(number), (), frames, None, (), chosen.data.fps, controls=controls)
        return chosen(given, number + shift).permute(0, 2, 3, 4, 1).float().numpy()

    return predict


def one_view_of_another_sample(first: Predict, second: Predict) -> Predict:
    """Return the method that takes every other view from a second sample."""

    def predict(window: Window, number: int) -> np.ndarray:
        images = first(window, number).copy()
        images[1::2] = second(window, number)[1::2]
        return images

    return predict


def methods(args: argparse.Namespace, layout: Layout, shards: Path) -> Iterator[tuple[str, Predict]]:
    """Yield the methods by name; networks are trained as they come."""
    yield REPEATED, lambda window, _: np.repeat(averaged_images(window)[:, :1], layout.frames, axis=1)
    yield "reprojection, depth and pose known", lambda window, _: motion_compensated(layout, window)
    yield "recorded", lambda window, _: averaged_images(window)
    for scope, control in product(args.scopes, args.controls):
        generator = open_generator(*train(args, layout, scope, shards, control))
        for setting in args.settings:
            sampler, steps = setting.split(":")
            of = scope if control == "none" else f"{scope}, {control} given"
            name = f"{of}, {sampler}, {evaluations(sampler, int(steps))} evaluations"
            predict = sampled(generator, setting)
            yield name, predict
        mixed = one_view_of_another_sample(predict, sampled(generator, setting, shift=10**6))
        yield f"{name}, middle view of another sample", mixed


def score(held_out: Sequence[HeldOut], predict: Predict) -> tuple[np.ndarray, float, float]:
    """Return PSNR in dB (N, T - 1) of windows and frames, RMS difference of neighboring views, and seconds."""
    started, psnr, squares, count = time.perf_counter(), [], 0.0, 0
    for number, one in enumerate(held_out):
        images = predict(one.window, number)
        error = np.square(images - one.images)[:, 1:].mean(axis=(0, 2, 3, 4))
        psnr.append(10 * np.log10(255.0**2 / np.maximum(error, 1e-3)))
        differences = color_differences(images, one.points)
        squares, count = squares + float(np.square(differences).sum()), count + differences.size
    return np.stack(psnr), float(np.sqrt(squares / max(count, 1))), time.perf_counter() - started


def compare(held_out: Sequence[HeldOut], found: Iterator[tuple[str, Predict]]) -> Iterator[Row]:
    """Yield the rows; the first method is what the others are compared with."""
    drives = np.array([one.drive for one in held_out])
    base: np.ndarray | None = None
    for name, predict in found:
        psnr, rms, seconds = score(held_out, predict)
        base = psnr if base is None else base
        gain = (psnr - base).mean(axis=1)
        by_drive = [float(gain[drives == drive].mean()) for drive in np.unique(drives)]
        frames = [float(value) for value in psnr.mean(axis=0)]
        interval = bootstrap_mean(by_drive)
        yield Row(name, frames, float(psnr.mean()), float(gain.mean()), interval, rms, seconds / len(held_out))


def print_table(rows: Iterator[Row], layout: Layout) -> list[Row]:
    """Print rows as they come, and return them."""
    out, kept = sys.stdout.write, []
    frames = " | ".join(f"frame {number}, dB" for number in range(1, layout.frames))
    out(f"| method | {frames} | mean, dB | above repetition, dB | neighbors differ, RMS | s per window |\n")
    out("|---" * (layout.frames + 4) + "|\n")
    for row in rows:
        low, high = row.gain_interval or (float("nan"),) * 2
        exact = row.name == "recorded"
        psnr = ["–" if exact else f"{value:.2f}" for value in (*row.psnr_db, row.mean_db)]
        gain = "–" if exact else f"{row.gain_db:+.2f} [{low:+.2f}, {high:+.2f}]"
        out(f"| {row.name} | {' | '.join(psnr)} | {gain} | {row.views_rms:.1f} | {row.seconds:.2f} |\n")
        sys.stdout.flush()
        kept.append(row)
    return kept


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options; ``--tiny`` changes the defaults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("folder", type=Path, help="for drives, runs and results")
    add("--train", dest="train", type=int, default=32, help="drives to train on (default %(default)s)")
    add("--held-out", type=int, default=10, help="others to score on (default %(default)s)")
    add("--windows", type=int, default=10, help="windows of a drive (default %(default)s)")
    add("--every", type=int, default=1, help="score every n-th window of a drive (default: all)")
    add("--size", default="64x112", metavar="HxW", help="of the rendered images (default %(default)s)")
    add("--steps", type=int, default=4000, help="training steps of each network (default %(default)s)")
    add("--scopes", nargs="+", default=SCOPES, choices=SCOPES)
    add("--controls", nargs="+", default=["none"], choices=("none", "depth"), help="control videos of the networks")
    add("--settings", nargs="+", default=["2ab:1", "2ab:35", "2ab:8"], metavar="SAMPLER:STEPS",
        help="samples of the last one are also mixed with others of their window (default %(default)s)")  # fmt: skip
    add("--train-options", nargs="+", default=[], metavar="key=value", help="further options of the recipe")
    add("--jobs", type=int, default=1, help="processes that render")
    add("--tiny", action="store_true", help="a rehearsal of a minute")
    add("--json", action="store_true", help="print results.json of the folder instead of the table")
    if parser.parse_args(arguments).tiny:
        parser.set_defaults(**_TINY)
    return parser.parse_args(arguments)


def main() -> int:
    """Render, train, score, write and print."""
    args = parse()
    height, width = (int(side) for side in args.size.split("x"))
    layout = Layout(height=height, width=width, windows=args.windows)
    held_seeds = range(args.held_out)
    shards = make_drives(layout, args.folder, range(100, 100 + args.train), held_seeds, args.jobs)
    held_out = [
        HeldOut(seed, window, averaged_images(window), static_points(layout, window))
        for seed in held_seeds
        for window in islice(read_windows(args.folder, seed), 0, None, args.every)
    ]
    where = f"{machine('cpu')}; {len(held_out)} windows of {args.held_out} drives; {time.strftime('%Y-%m-%d')}"
    rows = compare(held_out, methods(args, layout, shards))
    kept = list(rows) if args.json else print_table(rows, layout)
    text = json.dumps({"where": where, "steps": args.steps, "rows": [asdict(row) for row in kept]}, indent=1) + "\n"
    (args.folder / "results.json").write_text(text)
    if args.json:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
