"""Options shared by `tokenize` and `reconstruct`, and the video codec that they select."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from cosmos_lidar.arguments import out_folder, whole
from cosmos_lidar.commands._arguments import weights_name
from cosmos_lidar.errors import UserError

if TYPE_CHECKING:
    from cosmos_lidar.families.video_tokenizer.codec import VideoCodec


def add_codec_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of input, tokenizer and computation; names of the published commands are accepted, too."""
    add = parser.add_argument
    add("inputs", nargs="*", metavar="INPUT", help="videos, images, folders of them, or patterns such as 'v/*.mp4'")
    add("--video_pattern", "--image_pattern", dest="patterns", action="append", default=[], help=argparse.SUPPRESS)
    add("--checkpoint", type=weights_name("small-image-tokenizer"), metavar="PATH",
        help="tokenizer: folder, .jit, .pt, .safetensors, a name on the hub, or small, the embedded one")  # fmt: skip
    add("--checkpoint_enc", metavar="FILE", help="encoder.jit, together with --checkpoint_dec, instead of --checkpoint")
    add("--checkpoint_dec", metavar="FILE", help="decoder.jit")
    add(
        "--tokenizer_type",
        metavar="NAME",
        help="refuse the checkpoint if it is another tokenizer than this, such as CV8x8x8",
    )
    add(
        "--out",
        "--output_dir",
        dest="out",
        type=out_folder,
        required=True,
        metavar="DIR",
        help="folder for the results",
    )
    add("--device", default="auto", help="auto (default), cpu, cuda, cuda:1 …")
    add("--dtype", choices=("float32", "bfloat16"), help="default: bfloat16 on a GPU, float32 on a CPU")
    add("--short-size", "--short_size", dest="short_size", type=whole(0), default=0, metavar="N",
        help="scale the short side to N pixels first (default: as it is)")  # fmt: skip
    add("--tile", type=whole(1), metavar="N", help="encode overlapping tiles of N x N pixels, for large images")
    add("--chunk", type=whole(1), default=2, metavar="N", help="latent frames per chunk (default 2)")
    add("--temporal_window", type=int, help=argparse.SUPPRESS)


def input_patterns(args: argparse.Namespace) -> list[str]:
    """Return the input paths and patterns of the command line.

    Raises:
        UserError: there are none.
    """
    patterns = [*args.inputs, *args.patterns]
    if not patterns:
        raise UserError("no input: give videos, images or folders")
    return patterns


def open_codec(args: argparse.Namespace) -> tuple[VideoCodec, dict[str, Any]]:
    """Load the tokenizer as a video codec; returns it, and everything that its latents depend on.

    Raises:
        UserError: no tokenizer is given, it is not a ``--tokenizer_type``, or an option is invalid.
    """
    from cosmos_lidar.families.video_tokenizer import open as opening

    checkpoint, kind = _checkpoint(args), args.tokenizer_type or ""
    codec, facts = opening.open_codec(checkpoint, kind, args.device, args.dtype or "", args.chunk, args.tile)
    if args.temporal_window:  # published: independent windows, with a seam between them
        codec.chunk = max(args.temporal_window // codec.frames_per_latent, 1)
    return codec, facts | {"short_size": args.short_size}


def _checkpoint(args: argparse.Namespace) -> str | tuple[str, str]:
    pair = (args.checkpoint_enc, args.checkpoint_dec)
    if args.checkpoint and not any(pair):
        return args.checkpoint
    if all(pair) and not args.checkpoint:
        return pair
    raise UserError("no tokenizer: give --checkpoint, or both --checkpoint_enc and --checkpoint_dec")
