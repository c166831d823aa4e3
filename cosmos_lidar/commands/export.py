"""``cosmos-lidar export``: write the weights of a checkpoint as .pt, .safetensors and TorchScript, or for Diffusers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cosmos_lidar.arguments import out_folder

GROUP = "checkpoints"
HELP = "export the weights of a checkpoint: .pt, .safetensors, TorchScript of tokenizers, folders of Diffusers"
EXAMPLE = "cosmos-lidar export checkpoints/posttraining/tokenizer/debug/checkpoints/iter_000000030 --out exported"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "checkpoint", metavar="CKPT", type=Path,
        help="folder iter_N of a run, or iter_N.pt; for Diffusers also published weights, or a model by its name",
    )  # fmt: skip
    parser.add_argument("--out", metavar="DIR", type=out_folder, required=True, help="folder of the exported files")
    parser.add_argument(
        "--format", choices=("published", "diffusers"), default="published",
        help="published (default): .pt, .safetensors, TorchScript; diffusers: config.json and safetensors of "
        "AutoencoderKLCosmos, AutoencoderKLWan or CosmosTransformer3DModel",
    )  # fmt: skip
    parser.add_argument(
        "--network", metavar="NAME", default="",
        help="shape of a diffusion transformer, such as predict2_2b_video2world, where a file does not determine it",
    )  # fmt: skip
    parser.add_argument("--nemo", action="store_true", help="write iter_N.nemo instead, for restore_from of NeMo")


def run(args: argparse.Namespace) -> int:
    """Export; returns the exit status."""
    if args.format == "diffusers":
        return _to_diffusers(args)
    from cosmos_lidar.families.export import export_checkpoint, export_nemo
    from cosmos_lidar.recipes.registry import find_family

    if args.nemo:
        sys.stdout.write(f"{export_nemo(args.checkpoint, args.out, find_family)}\n")
        return 0
    for path in export_checkpoint(args.checkpoint, args.out, find_family):
        sys.stdout.write(f"{path}\n")
    return 0


def _to_diffusers(args: argparse.Namespace) -> int:
    """Write a folder of Diffusers.

    Raises:
        UserError: Diffusers cannot hold the network, or options that exclude each other.
    """
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.hub.finding import find_model
    from cosmos_lidar.hub.opening import open_model
    from cosmos_lidar.models.diffusers import to_diffusers

    if args.nemo:
        raise UserError("--nemo and --format diffusers: give one of them")
    opened = open_model(find_model(args.checkpoint), args.network)
    for path in to_diffusers(opened.network, args.out):
        sys.stdout.write(f"{path}\n")
    return 0
