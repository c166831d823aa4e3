"""Generated sweeps against what costs nothing: the mean range map, and the sweep of the most similar pictures.

``python benchmarks/lidargen_quality.py drives latents --checkpoint iter_N_ema_model.pt --lidar-tokenizer …`` compares,
on the drives that ``encode-views`` kept for validation, with the recorded sweeps: samples of the network with each of
``--settings``; the tokenizer's reconstruction of the recording, which no sample can surpass by much; the mean range map
of the training drives; the recorded sweep of the training frame whose pictures, or whose latents of pictures, are
nearest; and a training sweep at random. Writes a JSON file and prints a table in Markdown, whose last column is how
much farther (or, below 0, nearer) each is than the sweep of the nearest pictures, drive by drive.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cosmos_lidar.clips import Clip, open_clips
from cosmos_lidar.diffusion.samplers import evaluations
from cosmos_lidar.inference.lidargen_encode import FrameEncoder, open_space
from cosmos_lidar.inference.lidargen_sample import LidarGenerator, SamplingOptions, open_denoiser
from cosmos_lidar.inference.lidargen_views import lidar_picture
from cosmos_lidar.metrics.bootstrap import mean_difference
from cosmos_lidar.metrics.generation import GenerationScores
from cosmos_lidar.models.tokenizer.pretrained import from_pretrained
from cosmos_lidar.shards.lidargen_latents import LATENTS

SHOWN = ("chamfer_mean_m", "chamfer_median_m", "jsd", "frechet_range_distance", "ray_drop_f1")
RETRIEVED, AGAINST = "nearest pictures", "chamfer_m against nearest pictures"
_POOL = 4  # pixels of a picture that make one of its description


class Bench:
    """The frames of both splits, what describes their pictures, and what is made for them."""

    def __init__(self, args: argparse.Namespace) -> None:
        facts = json.loads((args.latents / LATENTS).read_text())
        clips = {clip.clip_id: clip for clip in open_clips(args.drives)}
        self.train, self.val = ([clips[name] for name in facts["clips"][split]] for split in ("train", "val"))
        device = torch.device(args.device)
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        denoiser = open_denoiser(args.checkpoint, None, device, dtype)
        lidar = open_space(from_pretrained(args.lidar_tokenizer).to(device), args.lidar_mean_std)
        image = open_space(from_pretrained(args.image_tokenizer).to(device), args.image_mean_std)
        sensor = self.val[0].sensor
        self.generator = LidarGenerator(denoiser, lidar, image, sensor, SamplingOptions())
        self.encoder = FrameEncoder(
            lidar=lidar, image=image, cameras=tuple(facts["cameras"]), image_size=tuple(facts["image_size"])
        )
        self.features = self.generator.features()

    def frames(self, clips: list[Clip], every: int) -> list[tuple[Clip, int]]:
        """Return (clip, number) of every n-th frame."""
        return [(clip, index) for clip in clips for index in range(0, len(clip), every)]

    def recorded(self, clip: Clip, index: int) -> np.ndarray:
        """Return the recorded range map, cut and limited as the network's."""
        return self.generator.recorded(clip.range_map(index))

    def score(self, make: Callable[[Clip, int, int], np.ndarray], every: int) -> GenerationScores:
        """Compare what ``make`` makes of (clip, frame, running number) with what was recorded."""
        scores = GenerationScores(features=self.features)
        for number, (clip, index) in enumerate(self.frames(self.val, every)):
            recorded, made = self.recorded(clip, index), make(clip, index, number)
            points = (self.generator.points(recorded), self.generator.points(made))
            scores.add(clip.clip_id, recorded, made, *points)
        return scores

    def sampled(self, options: SamplingOptions) -> Callable[[Clip, int, int], np.ndarray]:
        """Return what samples the network."""
        generator = replace(self.generator, options=options)

        def make(clip: Clip, index: int, number: int) -> np.ndarray:
            return generator(self.encoder.pictures(clip, index), number, self.encoder.rays(clip, index))

        return make

    def autoencoded(self, edges: float | None) -> Callable[[Clip, int, int], np.ndarray]:
        """Return what encodes and decodes the recording."""
        space, options = self.generator.lidar, replace(self.generator.options, edge_ratio=edges)
        generator = replace(self.generator, options=options)

        def make(clip: Clip, index: int, _: int) -> np.ndarray:
            picture = lidar_picture(clip, index, space.network.config.spatial_compression)
            return generator.restore(space.encode(picture))

        return make

    def mean_map(self, every: int) -> np.ndarray:
        """Mean of the returns of each pixel, where half of the training sweeps or more have one."""
        total = count = 0
        frames = self.frames(self.train, every)
        for clip, index in frames:
            recorded = self.recorded(clip, index)
            total, count = total + recorded, count + (recorded > 0)
        return np.where(count * 2 >= len(frames), total / np.maximum(count, 1), 0.0).astype(np.float32)

    def retrieved(self, describe: Callable[[Tensor], Tensor], every: int) -> Callable[[Clip, int, int], np.ndarray]:
        """Return what looks for the training frame whose pictures are described most alike."""
        frames = self.frames(self.train, every)
        known = torch.stack([describe(self.encoder.pictures(*frame)) for frame in frames])

        def make(clip: Clip, index: int, _: int) -> np.ndarray:
            wanted = describe(self.encoder.pictures(clip, index))
            return self.recorded(*frames[int((known - wanted).square().sum(1).argmin())])

        return make

    def at_random(self, every: int) -> Callable[[Clip, int, int], np.ndarray]:
        """Return what gives any training sweep."""
        frames, rng = self.frames(self.train, every), np.random.default_rng(0)
        return lambda clip, index, number: self.recorded(*frames[rng.integers(len(frames))])


def main() -> int:
    """Compare, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("drives", type=Path)
    parser.add_argument("latents", type=Path, help="of encode-views: tells which drives were trained on")
    for name in ("checkpoint", "lidar-mean-std", "image-mean-std"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("lidar-tokenizer", "image-tokenizer"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--settings", nargs="+", default=["2ab:35:karras", "dpm++2m:8:karras", "ddim:1:flow:0.01"],
                        help="sampler:steps:schedule[:noise of the pictures]")  # fmt: skip
    parser.add_argument("--edges", type=float, default=1.1, help="ratio of neighbouring ranges that is an edge")
    parser.add_argument("--every", type=int, default=1, help="take every N-th frame of each drive")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("lidargen_quality.json"))
    args = parser.parse_args()
    bench = Bench(args)
    mean = bench.mean_map(args.every)
    rows = {
        "recording through the tokenizer": bench.autoencoded(None),
        "the same without edges": bench.autoencoded(args.edges),
        "mean range map": lambda clip, index, number: mean,
        RETRIEVED: bench.retrieved(
            lambda x: torch.nn.functional.avg_pool2d(x, _POOL).flatten(), args.every
        ),
        "nearest latents of pictures": bench.retrieved(
            lambda x: bench.generator.image.encode(x).flatten(), args.every
        ),
        "a training sweep at random": bench.at_random(args.every),
    }
    for setting in args.settings:
        sampler, steps, schedule, *sigma = setting.split(":")
        options = SamplingOptions(
            int(steps), sampler=sampler, schedule=schedule, condition_sigma=float(sigma[0]) if sigma else None
        )
        name = f"sampled, {sampler} {schedule}, {evaluations(sampler, int(steps))} evaluations"
        name += f", pictures with {sigma[0]}" if sigma else ""
        rows[name] = bench.sampled(options)
        rows[f"{name}, without edges"] = bench.sampled(replace(options, edge_ratio=args.edges))
    results, distances = {}, {}
    for name, make in rows.items():
        start = time.perf_counter()
        scores = bench.score(make, args.every)
        results[name] = {found.name: found.row() for found in scores.result()}
        results[name]["seconds"] = time.perf_counter() - start
        distances[name] = scores.chamfer_m
        sys.stderr.write(f"{name}: {results[name]['chamfer_mean_m']['value']:.3f} m\n")
    clips = [clip.clip_id for clip, _ in bench.frames(bench.val, args.every)]
    for name, found in results.items():
        value, interval = mean_difference(clips, distances[name], distances[RETRIEVED])
        numbers = {"value": value, "low": interval.low, "high": interval.high}
        found[AGAINST] = {key: number if math.isfinite(number) else None for key, number in numbers.items()}
    counts = {"train": len(bench.frames(bench.train, args.every)), "val": len(bench.frames(bench.val, args.every))}
    where = {"machine": platform.machine(), "torch": torch.__version__, "threads": torch.get_num_threads(), **counts}
    args.out.write_text(json.dumps({"where": where, "results": results}, indent=1) + "\n")
    columns = (*SHOWN, AGAINST)
    sys.stdout.write(f"| | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}\n")
    for name, found in results.items():
        sys.stdout.write(f"| {name} | {' | '.join(_cell(found[key]) for key in columns)} |\n")
    return 0


def _cell(row: dict) -> str:
    """Return value and interval; few drives have none."""
    value, low, high = ("–" if row[key] is None else f"{row[key]:.3f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


if __name__ == "__main__":
    sys.exit(main())
