"""Generated sweeps compared with baselines: the mean range map, and retrieval by the most similar images.

``python benchmarks/lidargen_quality.py drives latents --checkpoint iter_N_ema_model.pt --lidar-tokenizer …`` compares,
on the drives that ``encode-views`` kept for validation, with the recorded sweeps: samples of the network with each of
``--settings``, as they are and without pixels next to jumps; the tokenizer's reconstruction of the recording, which no
sample can surpass by much; the mean range map of the training drives; the recorded sweep of the training frame whose
images, or whose latents of images, are nearest; and a training sweep at random. What counts as a jump is chosen on
some of the drives, which the table then leaves out. Writes a JSON file and prints a table in Markdown, whose last
column is how much farther (below 0: nearer) each is than the better of the two retrieved sweeps, drive by drive.
"""

from __future__ import annotations

import argparse
import json
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
from cosmos_lidar.families.lidargen.encode import FrameEncoder
from cosmos_lidar.families.lidargen.generator import LidarGenerator, SamplingOptions, open_denoiser
from cosmos_lidar.families.lidargen.views import lidar_image
from cosmos_lidar.latents.space import open_space
from cosmos_lidar.metrics.bootstrap import mean_difference
from cosmos_lidar.metrics.chamfer import DEFINITION as CHAMFER
from cosmos_lidar.metrics.chamfer import chamfer_distance
from cosmos_lidar.metrics.generation import GenerationScores
from cosmos_lidar.metrics.outliers import without_edges
from cosmos_lidar.metrics.protocol import Measurement, Protocol
from cosmos_lidar.models.tokenizer.pretrained import from_pretrained
from cosmos_lidar.shards.latents import LATENTS

SHOWN = ("chamfer_mean_m", "chamfer_median_m", "jsd", "frechet_range_distance", "ray_drop_f1")
RETRIEVED, AGAINST = ("nearest images", "nearest latents of images"), "chamfer_m against retrieval"
DIFFERENCE = Protocol("chamfer_difference", f"chamfer_m of a row minus that of the better retrieved sweep; {CHAMFER}")
_POOL = 4  # pixels of an image that make one of its description

Make = Callable[[Clip, int], np.ndarray]  # of frame and number: a range map (rows, columns), meters


class Bench:
    """The frames of both splits, descriptors of their images, and the sweeps generated for them."""

    def __init__(self, args: argparse.Namespace) -> None:
        facts = json.loads((args.latents / LATENTS).read_text())
        clips = {clip.clip_id: clip for clip in open_clips(args.drives)}
        train, held_out = ([clips[name] for name in facts["clips"][split]] for split in ("train", "val"))
        first = int(len(held_out) * args.choose)
        self.train, self.choosing, self.val = (
            [(clip, index) for clip in part for index in range(0, len(clip), args.every)]
            for part in (train, held_out[:first], held_out[first:])
        )
        device = torch.device(args.device)
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        denoiser = open_denoiser(args.checkpoint, None, device, dtype)
        lidar = open_space(from_pretrained(args.lidar_tokenizer).to(device), args.lidar_mean_std)
        image = open_space(from_pretrained(args.image_tokenizer).to(device), args.image_mean_std)
        self.generator = LidarGenerator(denoiser, lidar, image, held_out[0].sensor, SamplingOptions())
        self.encoder = FrameEncoder(
            lidar=lidar, image=image, cameras=tuple(facts["cameras"]), image_size=tuple(facts["image_size"])
        )
        self.features = self.generator.features()

    def recorded(self, clip: Clip, index: int) -> np.ndarray:
        """Return the recorded range map, cropped and clipped as the network's."""
        return self.generator.recorded(clip.range_map(index))

    def score(self, make: Make) -> GenerationScores:
        """Return the metrics of generated against recorded sweeps of the held-out frames."""
        scores = GenerationScores(features=self.features)
        for clip, index in self.val:
            recorded, made = self.recorded(clip, index), make(clip, index)
            scores.add(clip.clip_id, recorded, made, *map(self.generator.points, (recorded, made)))
        return scores

    def sampled(self, options: SamplingOptions) -> Make:
        """Return the sampling function; each frame has its own seed."""
        generator = replace(self.generator, options=options)
        seeds = {(clip.clip_id, index): seed for seed, (clip, index) in enumerate(self.choosing + self.val)}

        def make(clip: Clip, index: int) -> np.ndarray:
            seed = seeds[clip.clip_id, index]
            return generator(self.encoder.images(clip, index), seed, self.encoder.rays(clip, index))

        return _once(make)

    def autoencoded(self) -> Make:
        """Return the function that encodes and decodes the recording."""
        space, step = self.generator.lidar, self.encoder.lidar_step
        return _once(lambda clip, index: self.generator.restore(space.encode(lidar_image(clip, index, step))))

    def without_edges(self, make: Make, ratios: list[float]) -> tuple[float, Make]:
        """Return the filter of range discontinuities, and its ratio with the best score on the selection drives."""

        def distance(ratio: float) -> float:
            found = []
            for clip, index in self.choosing:
                maps = self.recorded(clip, index), without_edges(make(clip, index), ratio)
                found.append(chamfer_distance(*map(self.generator.points, maps)).chamfer_m)
            return float(np.nanmean(found)) if found else 0.0

        best = min(ratios, key=distance)
        return best, lambda clip, index: without_edges(make(clip, index), best)

    def mean_map(self) -> Make:
        """Return the mean of the returns of each pixel, where half of the training sweeps or more have one."""
        total = count = 0
        for clip, index in self.train:
            recorded = self.recorded(clip, index)
            total, count = total + recorded, count + (recorded > 0)
        mean = np.where(count * 2 >= len(self.train), total / np.maximum(count, 1), 0.0).astype(np.float32)
        return lambda clip, index: mean

    def retrieved(self, describe: Callable[[Tensor], Tensor]) -> Make:
        """Return the retrieval function: the training frame with the nearest image descriptors."""
        known = torch.stack([describe(self.encoder.images(*frame)) for frame in self.train])

        def make(clip: Clip, index: int) -> np.ndarray:
            wanted = describe(self.encoder.images(clip, index))
            return self.recorded(*self.train[int((known - wanted).square().sum(1).argmin())])

        return make

    def at_random(self) -> Make:
        """Return the function that gives a random training sweep."""
        rng = np.random.default_rng(0)
        return lambda clip, index: self.recorded(*self.train[rng.integers(len(self.train))])


def make_rows(bench: Bench, args: argparse.Namespace) -> dict[str, Make]:
    """Return the compared methods, by name."""
    pool = torch.nn.functional.avg_pool2d
    rows = {
        "mean range map": bench.mean_map(),
        RETRIEVED[0]: bench.retrieved(lambda x: pool(x, _POOL).flatten()),
        RETRIEVED[1]: bench.retrieved(lambda x: bench.generator.image.encode(x).flatten()),
        "a training sweep at random": bench.at_random(),
    }
    made = {"recording through the tokenizer": bench.autoencoded()}
    for setting in args.settings:
        sampler, steps, schedule, *sigma = setting.split(":")
        options = SamplingOptions(
            int(steps), sampler=sampler, schedule=schedule, condition_sigma=float(sigma[0]) if sigma else None
        )
        name = f"sampled, {sampler} {schedule}, {evaluations(sampler, int(steps))} evaluations"
        made[name + (f", images with {sigma[0]}" if sigma else "")] = bench.sampled(options)
    for name, make in made.items():
        rows[name] = make
        ratio, filtered = bench.without_edges(make, args.edges)
        rows[f"{name}, without edges of {ratio:g}"] = filtered
    return rows


def compare(bench: Bench, rows: dict[str, Make]) -> dict[str, dict]:
    """Return the measures of each row, and how much its distance differs from that of the better retrieval."""
    results, distances = {}, {}
    for name, make in rows.items():
        start = time.perf_counter()
        scores = bench.score(make)
        results[name] = {found.name: found.row() for found in scores.result()}
        results[name]["seconds"] = time.perf_counter() - start
        distances[name] = scores.chamfer_m
        sys.stderr.write(f"{name}: {results[name]['chamfer_mean_m']['value']:.3f} m\n")
    clips = [clip.clip_id for clip, _ in bench.val]
    best = min(RETRIEVED, key=lambda name: float(np.nanmean(distances[name])))
    for name, found in results.items():
        value, interval = mean_difference(clips, distances[name], distances[best])
        found[AGAINST] = Measurement(AGAINST, value, interval.low, interval.high, len(clips), DIFFERENCE).row()
    return results


def main() -> int:
    """Compare, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("drives", type=Path)
    parser.add_argument("latents", type=Path, help="of encode-views: lists the drives trained on")
    for name in ("checkpoint", "lidar-mean-std", "image-mean-std"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("lidar-tokenizer", "image-tokenizer"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--settings", nargs="+", default=["2ab:35:karras", "dpm++2m:5:flow:0.01", "ddim:1:flow:0.01"],
                        help="sampler:steps:schedule[:noise of the images]")  # fmt: skip
    parser.add_argument("--edges", type=float, nargs="+", default=[1.05, 1.1, 1.15, 1.2, 1.3, 1.5],
                        help="ratios of neighboring ranges that are edges, to choose from")  # fmt: skip
    parser.add_argument("--choose", type=float, default=0.25,
                        help="share of the drives that were kept for validation on which ratios are chosen; the table "
                        "is of the others (default 0.25)")  # fmt: skip
    parser.add_argument("--every", type=int, default=1, help="take every N-th frame of each drive")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("lidargen_quality.json"))
    args = parser.parse_args()
    bench = Bench(args)
    results = compare(bench, make_rows(bench, args))
    counts = {name: len(getattr(bench, name)) for name in ("train", "choosing", "val")}
    where = {"machine": platform.machine(), "torch": torch.__version__, "threads": torch.get_num_threads(), **counts}
    args.out.write_text(json.dumps({"where": where, "results": results}, indent=1) + "\n")
    columns = (*SHOWN, AGAINST)
    sys.stdout.write(f"| {counts} | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}\n")
    for name, found in results.items():
        sys.stdout.write(f"| {name} | {' | '.join(_cell(found[key]) for key in columns)} |\n")
    return 0


def _once(make: Make) -> Make:
    """Return the same, which makes each frame only once."""
    made: dict[tuple[str, int], np.ndarray] = {}

    def remembered(clip: Clip, index: int) -> np.ndarray:
        key = clip.clip_id, index
        if key not in made:
            made[key] = make(clip, index)
        return made[key]

    return remembered


def _cell(row: dict) -> str:
    """Return value and interval; few drives have none."""
    value, low, high = ("–" if row[key] is None else f"{row[key]:.3f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


if __name__ == "__main__":
    sys.exit(main())
