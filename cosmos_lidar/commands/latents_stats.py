"""``cosmos-lidar latents-stats``: the ``mean_std.pt`` of a tokenizer on one's own data."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_lidar.commands._arguments import add_data_arguments, add_flag, add_tokenizer_arguments

if TYPE_CHECKING:
    from torch import Tensor

    from cosmos_lidar.commands._tokenizer_setup import Tokenizer

GROUP = "tokenizers"
HELP = "mean and standard deviation of a tokenizer's latents, per channel, for diffusion on them"
EXAMPLE = "cosmos-lidar latents-stats shards --checkpoint checkpoints/lidar --out mean_std.pt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("data", metavar="DATA", help="lidar recordings or shards; with --pictures, videos and pictures")
    add_tokenizer_arguments(parser)
    add_data_arguments(parser, max_frames=-1)
    add_flag(parser, "pictures", action="store_true", help="DATA holds videos and pictures instead of lidar")
    add_flag(parser, "short_size", type=int, default=0, metavar="N", help="of pictures: scale the short side to N")
    add_flag(parser, "every", type=int, default=1, metavar="N", help="take every N-th frame (default 1)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write, such as mean_std.pt")


def run(args: argparse.Namespace) -> int:
    """Encode, and write a pair (mean, std) of (C,) tensors, the published layout."""
    import torch

    from cosmos_lidar.commands._tokenizer_setup import open_tokenizer
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.files import atomic_write
    from cosmos_lidar.latents.statistics import LatentStatistics
    from cosmos_lidar.progress import Meter

    if args.every < 1:
        raise UserError(f"--every {args.every}: at least 1")
    tokenizer = open_tokenizer(args, any_kind=args.pictures)
    statistics, frames = LatentStatistics(), 0
    with Meter("latents-stats", "frames", 0) as meter:
        for latents in (_of_pictures if args.pictures else _of_lidar)(args, tokenizer):
            statistics.add(latents)
            frames += 1
            meter.advance(1)
    mean, std = statistics.result()
    with atomic_write(args.out) as partial:
        torch.save((mean, std), partial)
    shown = ", ".join(f"{m:.3f} ± {s:.3f}" for m, s in zip(mean.tolist(), std.tolist(), strict=True))
    sys.stdout.write(f"{args.out}: {len(mean)} channels, {frames} frames, {statistics.count} values each\n{shown}\n")
    return 0


def _of_lidar(args: argparse.Namespace, tokenizer: Tokenizer) -> Iterator[Tensor]:
    """Yield latents (1, C, h, w) of whole range maps, cut in the middle to columns that fill latents."""
    import torch

    from cosmos_lidar.commands._tokenizer_setup import choose_clips
    from cosmos_lidar.sensors import prepare_range_map

    step = tokenizer.network.config.spatial_compression
    for clip in choose_clips(args.data, args):
        count = len(clip) if args.max_frames < 0 else min(args.max_frames, len(clip))
        for index in range(0, count, args.every):
            picture = torch.from_numpy(prepare_range_map(clip.range_map(index), clip.sensor.format))[None]
            spare = picture.shape[-1] % step
            picture = picture[..., spare // 2 : picture.shape[-1] - (spare - spare // 2)]
            with torch.inference_mode():
                latents = tokenizer.network.encode(picture.to(tokenizer.device, tokenizer.dtype))
            yield latents[1] if isinstance(latents, tuple) else latents


def _of_pictures(args: argparse.Namespace, tokenizer: Tokenizer) -> Iterator[Tensor]:
    """Yield latents (1, C, 1, h, w) of single frames, as camera pictures are encoded for diffusion."""
    from cosmos_lidar.clips.footage import open_footage
    from cosmos_lidar.families.video_tokenizer.codec import VideoCodec
    from cosmos_lidar.families.video_tokenizer.files import find_inputs

    codec = VideoCodec(tokenizer.network, tokenizer.device, tokenizer.dtype)
    for file in find_inputs([args.data]):
        number = 0
        for block in open_footage(file, args.short_size).blocks():
            for frame in block:
                if number % args.every == 0 and not 0 <= args.max_frames <= number:
                    yield codec.encode(frame[None]).latents[None]
                number += 1
