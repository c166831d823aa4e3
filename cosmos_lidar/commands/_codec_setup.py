"""Options shared by `tokenize` and `reconstruct`, and the video codec that they select."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_lidar.errors import DataError, UserError

if TYPE_CHECKING:
    from cosmos_lidar.families.video_tokenizer.codec import VideoCodec


def add_codec_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of input, tokenizer and computation; names of the published commands are accepted, too."""
    add = parser.add_argument
    add("inputs", nargs="*", metavar="INPUT", help="videos, images, folders of them, or patterns such as 'v/*.mp4'")
    add("--video_pattern", "--image_pattern", dest="patterns", action="append", default=[], help=argparse.SUPPRESS)
    add("--checkpoint", metavar="PATH", help="tokenizer: folder, .jit, .pt, .safetensors, or a name on the hub")
    add("--checkpoint_enc", metavar="FILE", help="encoder.jit, together with --checkpoint_dec, instead of --checkpoint")
    add("--checkpoint_dec", metavar="FILE", help="decoder.jit")
    add(
        "--tokenizer_type",
        metavar="NAME",
        help="refuse the checkpoint if it is another tokenizer than this, such as CV8x8x8",
    )
    add("--out", "--output_dir", dest="out", type=Path, required=True, metavar="DIR", help="folder for the results")
    add("--device", default="auto", help="auto (default), cpu, cuda, cuda:1 …")
    add("--dtype", choices=("float32", "bfloat16"), help="default: bfloat16 on a GPU, float32 on a CPU")
    add("--short-size", "--short_size", dest="short_size", type=int, default=0, metavar="N",
        help="scale the short side to N pixels first (default: as it is)")  # fmt: skip
    add("--tile", type=int, metavar="N", help="encode overlapping tiles of N x N pixels, for large images")
    add("--chunk", type=int, default=2, metavar="N", help="latent frames per chunk (default 2)")
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
    import torch

    from cosmos_lidar.commands._tokenizer_setup import choose_device
    from cosmos_lidar.families.video_tokenizer.codec import VideoCodec
    from cosmos_lidar.latents.cache import weights_hash

    network = _load(args)
    weights = weights_hash(network)
    if args.tokenizer_type:
        _check_type(network, args.tokenizer_type)
    device = choose_device(args.device)
    dtype = args.dtype or ("bfloat16" if device.type == "cuda" else "float32")
    codec = VideoCodec(network, device, getattr(torch, dtype), args.chunk, args.tile)
    if args.temporal_window:  # published: independent windows, with a seam between them
        codec.chunk = max(args.temporal_window // codec.frames_per_latent, 1)
    facts = {"tokenizer": _name(codec), "weights_sha256": weights, "dtype": dtype}
    return codec, facts | {"tile": args.tile, "short_size": args.short_size}


def _name(codec: VideoCodec) -> str:
    """Return family and compression, such as ``CV8x8x8``."""
    config = codec.network.config
    time = f"{config.temporal_compression}x" if codec.temporal else ""
    return f"{config.family}{time}{config.spatial_compression}x{config.spatial_compression}"


def _load(args: argparse.Namespace) -> object:
    from cosmos_lidar.models.tokenizer import load_tokenizer
    from cosmos_lidar.models.tokenizer.pretrained import from_pretrained

    pair = (args.checkpoint_enc, args.checkpoint_dec)
    if args.checkpoint and not any(pair):
        return from_pretrained(args.checkpoint)
    if all(pair) and not args.checkpoint:
        for file in pair:
            if not Path(file).is_file():
                raise DataError("no such file", file=file, wanted="encoder.jit and decoder.jit")
        return load_tokenizer(tuple(Path(file) for file in pair))
    raise UserError("no tokenizer: give --checkpoint, or both --checkpoint_enc and --checkpoint_dec")


def _check_type(network: object, name: str) -> None:
    from cosmos_lidar.models.tokenizer.config import tokenizer_config

    wanted, found = tokenizer_config(name), network.config
    for field in ("family", "spatial_compression", "temporal_compression", "patch_size"):
        if getattr(wanted, field, None) != getattr(found, field, None):
            shown = f"{field} {getattr(found, field, None)}, and {name} has {getattr(wanted, field, None)}"
            raise UserError(f"--tokenizer_type {name}: the checkpoint has {shown}")
