"""``cosmos-lidar embed-captions``: text embeddings of captions by a T5 encoder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_lidar.arguments import whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from cosmos_lidar.clips.multiview_folder import MultiviewFolder
    from cosmos_lidar.shards.embed_captions import Embedder

GROUP = "data"
HELP = "embed the captions of clips of several cameras with T5, for training, as safetensors"
EXAMPLE = "cosmos-lidar embed-captions datasets/waymo --encoder google-t5/t5-11b --prompt 'A street.'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "folder", metavar="DIR", type=Path,
        help="folder of `prepare --task multiview`, or of the multi-view guide (videos/, metas/)",
    )  # fmt: skip
    parser.add_argument(
        "--encoder", default="google-t5/t5-11b", metavar="NAME",
        help="T5 encoder: a folder, or a repository of the Hugging Face Hub (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--prompt", metavar="TEXT", help="caption of the clips of a guide's folder that have none")
    parser.add_argument(
        "--prompt-file", type=Path, metavar="FILE", help="instead of --prompt: a line for each view, in their order"
    )
    parser.add_argument(
        "--prefixes", action=argparse.BooleanOptionalAction, default=None,
        help="embed a sentence about where each camera looks: by itself in a guide's folder (default), before every "
        "caption beside shards (for captions=every; default: captions of the front view alone)",
    )  # fmt: skip
    parser.add_argument("--max-length", type=whole(1), default=512, help="tokens kept of a caption (default 512)")
    parser.add_argument("--batch-size", type=whole(1), default=8, help="captions at once (default 8)")
    parser.add_argument(
        "--weights", choices=("float32", "bfloat16"), default="float32", help="dtype of the encoder (default float32)"
    )
    parser.add_argument(
        "--dtype", choices=("float16", "float32"), default="float16", help="dtype of the embeddings (default float16)"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, or auto (default): CUDA if available")


def needs(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the optional packages that the command needs."""
    return ("transformers",)


def run(args: argparse.Namespace) -> int:
    """Embed the captions; returns the exit status."""
    from cosmos_lidar.clips.multiview_folder import find_multiview_folder
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.shards.embed_captions import embed_folder, embed_shards
    from cosmos_lidar.shards.multiview import DOCUMENT

    if (args.folder / DOCUMENT).is_file():
        if args.prompt or args.prompt_file:
            raise UserError("--prompt: captions of shards are given to `cosmos-lidar prepare --task multiview`")
        done = embed_shards(args.folder, _embedder(args), bool(args.prefixes))
    else:
        folder = find_multiview_folder(args.folder)
        if folder is None:
            raise UserError(
                f"{args.folder}: expected {DOCUMENT}, of `prepare --task multiview`, or videos/CAMERA/CLIP.mp4"
            )
        folder.check_cameras()
        prompts = _prompts(folder, args)
        done = embed_folder(folder, _embedder(args), prompts, args.prefixes is not False)
    sys.stdout.write(f"{args.folder}: {done.texts} texts embedded, {done.kept} were there\n")
    return 0


def _prompts(folder: MultiviewFolder, args: argparse.Namespace) -> dict[str, str]:
    """Return camera -> caption."""
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.shards.captions import read_prompts

    if args.prompt and args.prompt_file:
        raise UserError("--prompt and --prompt-file: give one of them")
    if args.prompt_file:
        return dict(zip(folder.cameras, read_prompts(args.prompt_file, folder.cameras), strict=True))
    return dict.fromkeys(folder.cameras, args.prompt) if args.prompt else {}


def _embedder(args: argparse.Namespace) -> Embedder:
    from cosmos_lidar.shards.embed_captions import Embedder

    def load() -> Callable[[Sequence[str]], list[np.ndarray]]:
        import torch

        from cosmos_lidar.models.text_encoder import load_text_encoder
        from cosmos_lidar.parallel.devices import choose_device

        device, weights = choose_device(args.device), getattr(torch, args.weights)
        encoder = load_text_encoder(args.encoder, max_length=args.max_length, device=device, dtype=weights)
        return lambda texts: [rows.numpy().astype(args.dtype) for rows in encoder.encode(texts)]

    name = Path(args.encoder).name if Path(args.encoder).is_dir() else args.encoder
    return Embedder(load, {"encoder": name, "max_length": str(args.max_length)}, args.batch_size)
