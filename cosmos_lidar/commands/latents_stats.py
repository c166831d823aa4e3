"""``cosmos-lidar latents-stats``: latent statistics of a tokenizer, the file ``mean_std.pt``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cosmos_lidar.arguments import out_file, whole
from cosmos_lidar.commands._arguments import add_data_arguments, add_flag, add_tokenizer_arguments

if TYPE_CHECKING:
    from torch import Tensor

    from cosmos_lidar.families.lidar_tokenizer.open import OpenTokenizer

GROUP = "tokenizers"
HELP = "compute mean and standard deviation of latents per channel, for diffusion"
EXAMPLE = "cosmos-lidar latents-stats shards --checkpoint checkpoints/lidar --out mean_std.pt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("data", metavar="DATA", help="lidar recordings or shards; with --images, videos and images")
    add_tokenizer_arguments(parser)
    add_data_arguments(parser, max_frames=-1)
    add_flag(parser, "images", "--pictures", action="store_true", help="DATA holds videos and images instead of lidar")
    add_flag(
        parser, "short_size", type=whole(0), default=0, metavar="N", help="scale the short side of images to N pixels"
    )
    add_flag(parser, "every", type=whole(1), default=1, metavar="N", help="take every N-th frame (default 1)")
    parser.add_argument(
        "--out", type=out_file, required=True, metavar="FILE", help="file to write, such as mean_std.pt"
    )


def run(args: argparse.Namespace) -> int:
    """Encode, and write a pair (mean, std) of tensors (C,), the published layout."""
    import torch

    from cosmos_lidar.commands._tokenizer_setup import tokenizer_of
    from cosmos_lidar.files import atomic_write
    from cosmos_lidar.latents.statistics import LatentStatistics
    from cosmos_lidar.progress import Meter

    tokenizer = tokenizer_of(args, any_kind=args.images)
    statistics, frames = LatentStatistics(), 0
    with Meter("latents-stats", "frames", 0) as meter:
        for latents in (_of_images if args.images else _of_lidar)(args, tokenizer):
            statistics.add(latents)
            frames += 1
            meter.advance(1)
    mean, std = statistics.result()
    with atomic_write(args.out) as partial:
        torch.save((mean, std), partial)
    shown = ", ".join(f"{m:.3f} ± {s:.3f}" for m, s in zip(mean.tolist(), std.tolist(), strict=True))
    sys.stdout.write(f"{args.out}: {len(mean)} channels, {frames} frames, {statistics.count} values each\n{shown}\n")
    return 0


def _of_lidar(args: argparse.Namespace, tokenizer: OpenTokenizer) -> Iterator[Tensor]:
    """Yield latents (1, C, h, w) of range maps, center-cropped to a multiple of the compression."""
    import torch

    from cosmos_lidar.commands._tokenizer_setup import choose_clips
    from cosmos_lidar.sensors import prepare_range_map

    step = tokenizer.network.config.spatial_compression
    for clip in choose_clips(args.data, args):
        count = len(clip) if args.max_frames < 0 else min(args.max_frames, len(clip))
        for index in range(0, count, args.every):
            image = torch.from_numpy(prepare_range_map(clip.range_map(index), clip.sensor.format))[None]
            spare = image.shape[-1] % step
            image = image[..., spare // 2 : image.shape[-1] - (spare - spare // 2)]
            with torch.inference_mode():
                latents = tokenizer.network.encode(image.to(tokenizer.device, tokenizer.dtype))
            yield latents[1] if isinstance(latents, tuple) else latents


def _of_images(args: argparse.Namespace, tokenizer: OpenTokenizer) -> Iterator[Tensor]:
    """Yield latents (1, C, 1, h, w) of single frames, as camera images are encoded for diffusion."""
    from cosmos_lidar.clips.footage import open_footage
    from cosmos_lidar.errors import problem_of
    from cosmos_lidar.families.video_tokenizer.codec import VideoCodec
    from cosmos_lidar.families.video_tokenizer.files import find_inputs
    from cosmos_lidar.log import logger

    codec = VideoCodec(tokenizer.network, tokenizer.device, tokenizer.dtype)
    files, bad = find_inputs([args.data]), 0
    for file in files:
        number = 0
        try:
            for block in open_footage(file, args.short_size).blocks():
                for frame in block:
                    if number % args.every == 0 and not 0 <= args.max_frames <= number:
                        yield codec.encode(frame[None]).latents[None]
                    number += 1
        except Exception as error:  # one odd file ends no work on the others
            bad += 1
            logger.warning("skipped after %d frames: %s: %s", number, file, problem_of(error))
    if bad:
        logger.warning("%d of %d files were skipped, or read in part", bad, len(files))
