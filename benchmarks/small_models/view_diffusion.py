"""Train ``small-multiview``: video of three cameras from their first images, on latents of ``small-multiview-vae``.

    OMP_NUM_THREADS=1 python benchmarks/small_models/view_diffusion.py camera --out cosmos_lidar/weights

A run of the recipe ``multiview``: 9 frames of three neighboring cameras, one given, without text. The folder is that of
``video_vae.py``, which must have written its model to ``--out`` before. Scored are the 8 frames after the given one of
drives that were not trained on, against repeating the given frame, and against what the VAE makes of the recording.
The same command line goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from camera_drives import HEIGHT, VIEW_IDS, WIDTH, make_shards
from common import (
    Card,
    Result,
    finished,
    held_out_seeds,
    own_options,
    parameters,
    train_seeds,
    write_card,
    write_weights,
)
from safetensors.torch import load_file
from torch import Tensor

from cosmos_lidar.diffusion.samplers import evaluations
from cosmos_lidar.families.multiview.config import MultiviewTrainConfig
from cosmos_lidar.families.multiview.generator import ViewGenerator, ViewSampling, open_view_generator
from cosmos_lidar.families.multiview.inputs import ViewInput, inputs_of_data
from cosmos_lidar.recipes import multiview
from cosmos_lidar.training.overrides import apply_overrides

NAME, VAE = "small-multiview", "small-multiview-vae"
PROGRAM = "benchmarks/small_models/view_diffusion.py camera"
SAMPLINGS = {
    "2 evaluations (`--num_steps 1`)": ViewSampling(steps=1, guidance=0.0),
    "36 evaluations (published)": ViewSampling(guidance=0.0),
}
_FRAMES, _GIVEN = 9, 1


@dataclass(frozen=True)
class Score:
    """PSNR in dB of the frames that are not given, mean over clips."""

    name: str
    psnr_db: float


def train(args: argparse.Namespace, shards: Path, vae: Path) -> Result:
    """Train, or go on, by the recipe."""
    shape = [16, 1 + (_FRAMES - 1) // 4, HEIGHT // 8, WIDTH // 8]
    values = {
        "synthetic_clips": 0, "data.path": shards, "data.vae.checkpoint": vae,
        "data.vae.cache": args.folder / "latents",
        "data.latent_shape": shape, "data.text_shape": [], "data.captions": "none", "data.view_ids": list(VIEW_IDS),
        "data.batch_size": 4, "data.shuffle": 32, "data.start_step": 4, "model.name": "predict2_1m_multiview",
        "model.condition.frames": [1], "model.noise.high_ratio": 0.2, "optim.lr": 0.002, "optim.weight_decay": 0.01,
        "optim.warmup_steps": 50, "optim.decay_until": args.steps, "optim.decay_to": 0.1, "trainer.log_every": 10,
        "trainer.max_steps": args.steps, "trainer.seed": args.seed, "trainer.val_every": 0, "trainer.val_batches": 4,
        "trainer.val_at_start": "false", "trainer.save_every": args.save_every, "trainer.keep_last": 1,
        "log.tensorboard": "false", "log.root": args.folder / "runs", "log.name": NAME,
    }  # fmt: skip
    options = [f"{key}={str(value).replace(' ', '')}" for key, value in values.items()]
    return finished(multiview.train, apply_overrides(multiview.debug(), [*options, *args.options]))


def psnr_db(images: Tensor, recorded: Tensor) -> float:
    """Return the PSNR of (V, 3, T, H, W) uint8 after the given frame."""
    error = (images[:, :, _GIVEN:].float() - recorded[:, :, _GIVEN:]).square().mean()
    return float(10 * torch.log10(255.0**2 / error))


def score(run: MultiviewTrainConfig, checkpoint: Path, vae: Path, shards: Path) -> list[Score]:
    """Return the scores of repetition, the VAE, and each sampling, on the middle windows of held-out clips."""
    generator = open_view_generator(checkpoint, run, vae=vae, sampling=ViewSampling())
    clips = list(inputs_of_data(run.data, shards, "val"))

    def mean(make: Callable[[ViewInput, int], Tensor]) -> float:
        found = [psnr_db(make(clip, number), clip.frames) for number, clip in enumerate(clips)]
        return sum(found) / len(found)

    def repeated(clip: ViewInput, _: int) -> Tensor:
        return clip.frames[:, :, :_GIVEN].expand(-1, -1, _FRAMES, -1, -1)

    scores = [Score("the given frame, repeated", mean(repeated))]
    scores.append(Score("the recording, encoded and decoded", mean(lambda clip, _: _decoded(generator, clip))))
    for name, sampling in SAMPLINGS.items():
        chosen = replace(generator, sampling=sampling)
        scores.append(Score(f"generated, {name}", mean(chosen)))
    return scores


def _decoded(generator: ViewGenerator, clip: ViewInput) -> Tensor:
    video = generator.space.decode(generator.space.encode(clip.frames), len(clip.frames))
    return video.add(1).mul(127.5).clamp(0, 255).round().to(torch.uint8)


def main() -> int:
    """Render, train, score, write."""
    args = parse()
    seeds, others = train_seeds(args.train), held_out_seeds(args.held_out)
    shards = make_shards(args.folder / "shards", seeds, others, args.jobs)
    vae = args.out / VAE / "model.safetensors"
    result = train(args, shards, vae)
    state = load_file(result.export("ema_model.safetensors"))
    folder = args.out / NAME
    write_weights(folder, state, {"family": "multiview", "run": own_options(result.run)})
    scores = score(result.run, folder / "model.safetensors", vae, shards)
    data = (
        f"{len(seeds)} synthetic drives and their mirror images (seeds {seeds.start} to {seeds.stop - 1}), "
        f"{len(others)} held-out ones (seeds {others.start} to {others.stop - 1}); "
        f"front left, front and front right camera (view ids {', '.join(map(str, VIEW_IDS))}) at 10 Hz, "
        f"{HEIGHT} x {WIDTH} pixels, latents of `{VAE}`."
    )
    training = (
        f"`recipes/multiview.py`, {result.step} steps of 4 clips of {_FRAMES} frames, the first one given, seed "
        f"{args.seed}, EMA weights, {result.minutes}."
    )
    metrics = [(f"PSNR of frames 2 to {_FRAMES}: {one.name}", f"{one.psnr_db:.2f} dB") for one in scores]
    write_card(folder, Card(_WHAT, data, training, PROGRAM, metrics, _LIMITS), result.cost, parameters(state))
    for one in scores:
        sys.stdout.write(f"{one.name}: {one.psnr_db:.2f} dB\n")
    return 0


_WHAT = (
    "Multi-view video diffusion (the structure of Cosmos-Predict2's multi-view network): 9 frames of three neighboring "
    "cameras from the first image of each. `cosmos-lidar generate-views --checkpoint small --vae small --data shards`."
)
_LIMITS = (
    "Small images of synthetic drives, one rig, no text; less than a second of video. Few "
    f"evaluations ({evaluations('2ab', 1)}) give nearly the mean of what may come, many give a sample with more noise. "
    "Neighboring views agree through their first images alone."
)


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("folder", type=Path, help="of video_vae.py: videos; shards, latents and the run are added")
    add("--train", type=int, default=28, help="drives to train on (default %(default)s)")
    add("--held-out", type=int, default=4, help="others to score on (default %(default)s)")
    add("--steps", type=int, default=1500, help="of 4 clips (default %(default)s)")
    add("--save-every", type=int, default=50, help="steps between checkpoints (default %(default)s)")
    add("--seed", type=int, default=0, help="of weights and batches (default %(default)s)")
    add("--jobs", type=int, default=1, help="processes that render")
    add("--options", nargs="+", default=[], metavar="key=value", help="further options of the recipe")
    add("--out", type=Path, required=True, metavar="DIR", help="where the VAE is, and where the model is written")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
