"""Train ``small-lidargen``: lidar sweeps from camera images, on latents of the small tokenizers.

    OMP_NUM_THREADS=1 python benchmarks/small_models/lidar_diffusion.py lidargen --out cosmos_lidar/weights

A run of the recipe ``lidargen`` (``small``: ray-conditioned, rectified flow) on synthetic drives of one sweep each, of
the lidar of ``benchmarks/small32.yaml`` and three cameras of 130 degrees. Inner tokens are aligned with the features of
``small-backbone`` (``--alignment ""``: not). Latents are not normalized, so that ``generate-lidar --checkpoint small
--lidar_tokenizer small --image_tokenizer small`` needs no further file. Scored by
``benchmarks/lidargen_quality.py``, against the mean range map and retrieval. Drives, latents and the run are kept in
the folder; the same command line goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from common import (
    Card,
    Result,
    command,
    finished,
    own_options,
    parameters,
    train_seeds,
    write_card,
    write_weights,
)
from safetensors.torch import load_file

from cosmos_lidar.recipes import lidargen
from cosmos_lidar.shards.latents import LATENTS
from cosmos_lidar.training.overrides import apply_overrides

NAME = "small-lidargen"
PROGRAM = "benchmarks/small_models/lidar_diffusion.py lidargen"
_BENCHMARKS = Path(__file__).parents[1]
_SENSOR = _BENCHMARKS / "small32.yaml"
_CAMERAS = "front,left,right"
SAMPLING = "dpm++2m:5:flow:0.01"
ALIGNMENT = {"weight": 0.5, "block": 2, "hidden": 128}
_SHOWN = {"chamfer_mean_m": "Chamfer distance, m", "frechet_range_distance": "Frechet range distance",
          "ray_drop_f1": "F1 of returns"}  # fmt: skip


def make_drives(args: argparse.Namespace) -> Path:
    """Return the folder of the drives; those that are there are kept."""
    options = ["--drives", args.train + args.held_out, "--seed", train_seeds(1).start, "--frames", 1, "--exact"]
    options += ["--sensor", _SENSOR, "--cameras", _CAMERAS, "--lens", "pinhole", "--fov", 130, "--width", 256]
    command(["synth", str(args.folder / "drives"), *map(str, options), "--jobs", str(args.jobs)])
    return args.folder / "drives"


def encode(args: argparse.Namespace, drives: Path) -> Path:
    """Return the folder of the latents; frames that are encoded already are kept.

    ``encode-views`` deals drives to splits by share; drives that numbers are measured on are those of its ``val``.
    """
    latents, total = args.folder / "latents", args.train + args.held_out
    aligned = ["--alignment", args.alignment] if args.alignment else []
    command(
        ["encode-views", str(drives), str(latents), "--lidar-tokenizer", args.lidar_tokenizer, "--image-tokenizer",
         args.image_tokenizer, "--image-size", "64x256", "--mirror", "--split",
         f"{args.train / total},{args.held_out / total},0", *aligned]
    )  # fmt: skip
    return latents


def train(args: argparse.Namespace, latents: Path) -> Result:
    """Train, or go on, by the recipe."""
    values = {
        "data.path": latents, "model.name": args.network, "trainer.max_steps": args.steps, "optim.warmup_steps": 50,
        "optim.decay_until": args.steps, "trainer.save_every": args.save_every, "trainer.val_every": 0,
        "trainer.precision": "fp32", "trainer.seed": args.seed, "trainer.keep_last": 1, "log.tensorboard": "false",
        "log.root": args.folder / "runs", "log.name": NAME, "trainer.val_at_start": "false", "optim.lr": 0.002,
    }  # fmt: skip
    if args.alignment:
        values |= {f"model.alignment.{key}": value for key, value in ALIGNMENT.items()}
    options = [f"{key}={value}" for key, value in values.items()]
    return finished(lidargen.train, apply_overrides(lidargen.small(), [*options, *args.options]))


def score(args: argparse.Namespace, checkpoint: Path, drives: Path, latents: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of ``lidargen_quality.py``."""
    channels = json.loads((latents / LATENTS).read_text())["latent_shape"][0]
    plain, out = args.folder / "not_normalized.pt", args.folder / "quality.json"
    torch.save((torch.zeros(channels), torch.ones(channels)), plain)
    options = ["--checkpoint", checkpoint, "--lidar-tokenizer", args.lidar_tokenizer, "--image-tokenizer",
               args.image_tokenizer, "--lidar-mean-std", plain, "--image-mean-std", plain, "--settings", SAMPLING,
               "--edges", 1.2, "--choose", 0, "--out", out]  # fmt: skip
    program = _BENCHMARKS / "lidargen_quality.py"
    subprocess.run([sys.executable, str(program), str(drives), str(latents), *map(str, options)], check=True)
    return dict(json.loads(out.read_text())["results"])


def main() -> int:
    """Render, encode, train, score, write."""
    args = parse()
    args.folder.mkdir(parents=True, exist_ok=True)
    drives = make_drives(args)
    latents = encode(args, drives)
    result = train(args, latents)
    state = load_file(result.export("ema_model.safetensors"))
    folder = args.out / NAME
    options = own_options(result.run)
    options["model"].pop("alignment", None)  # its head is not in the weights
    write_weights(folder, state, {"family": "lidargen", "run": options, "sensor": _SENSOR.read_text()})
    rows = score(args, folder / "model.safetensors", drives, latents)
    metrics = [
        (f"{text}: {name}", f"{row[key]['value']:.3f}")
        for key, text in _SHOWN.items()
        for name, row in rows.items()
        if "without edges" not in name
    ]
    data = (
        f"{args.train} synthetic drives of one sweep without noise and their mirror images, {args.held_out} held-out "
        f"ones (seeds from {train_seeds(1).start} on, dealt by `encode-views`); 32 x 256 rays "
        "(`benchmarks/small32.yaml`), three cameras of 130 degrees, 64 x 256 pixels; latents of "
        "`small-lidar-tokenizer` and `small-image-tokenizer`, not normalized."
    )
    aligned = " ".join(f"model.alignment.{key}={value}" for key, value in ALIGNMENT.items())
    aligned = f"aligned with `small-backbone` (`{aligned}`), " if args.alignment else ""
    training = (
        f"`recipes/lidargen.py` (`small`), {result.step} steps of 16 frames, {aligned}seed {args.seed}, EMA weights, "
    )
    card = Card(_WHAT, data, training + f"{result.minutes}.", PROGRAM, metrics, _LIMITS)
    write_card(folder, card, result.cost, parameters(state))
    return 0


_WHAT = (
    "Camera-to-lidar diffusion (the structure of Cosmos-Transfer-LidarGen, ray-conditioned): a range map of 32 x 256 "
    "from three images. `cosmos-lidar generate-lidar --checkpoint small --lidar_tokenizer small --image_tokenizer "
    "small --data drives`."
)
_LIMITS = (
    "Synthetic streets, one small lidar and one rig. Generated sweeps have the street where the images show it, and "
    "little of what is small; they do not transfer to recordings."
)


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("folder", type=Path, help="for drives, latents and the run")
    add("--train", type=int, default=400, help="drives to train on (default %(default)s)")
    add("--held-out", type=int, default=24, help="others to score on (default %(default)s)")
    add("--steps", type=int, default=2000, help="of 16 frames (default %(default)s)")
    add("--network", default="faditv2_1m", help="name of build_dit (default %(default)s)")
    add("--save-every", type=int, default=50, help="steps between checkpoints (default %(default)s)")
    add("--seed", type=int, default=0, help="of weights and batches (default %(default)s)")
    add("--lidar-tokenizer", default="cosmos_lidar/small-lidar-tokenizer", help="default %(default)s")
    add("--image-tokenizer", default="cosmos_lidar/small-image-tokenizer", help="default %(default)s")
    add("--alignment", metavar="FILE", default="small", help="lidar backbone; '': none (default: %(default)s)")
    add("--options", nargs="+", default=[], metavar="key=value", help="further options of the recipe")
    add("--jobs", type=int, default=1, help="processes that render")
    add("--out", type=Path, required=True, metavar="DIR", help="write the model here, such as cosmos_lidar/weights")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
