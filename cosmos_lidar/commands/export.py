"""``cosmos-lidar export``: write the weights of a checkpoint as .pt, .safetensors and TorchScript."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

GROUP = "checkpoints"
HELP = "export the weights of a checkpoint: .pt, .safetensors, and TorchScript of tokenizers"
EXAMPLE = "cosmos-lidar export checkpoints/posttraining/tokenizer/debug/checkpoints/iter_000000030 --out exported"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("checkpoint", metavar="CKPT", type=Path, help="folder iter_N of a run, or iter_N.pt")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder of the exported files")
    parser.add_argument("--nemo", action="store_true", help="write iter_N.nemo instead, for restore_from of NeMo")


def run(args: argparse.Namespace) -> int:
    """Export; returns the exit status."""
    from cosmos_lidar.families.export import export_checkpoint, export_nemo
    from cosmos_lidar.recipes.registry import find_family

    if args.nemo:
        sys.stdout.write(f"{export_nemo(args.checkpoint, args.out, find_family)}\n")
        return 0
    for path in export_checkpoint(args.checkpoint, args.out, find_family):
        sys.stdout.write(f"{path}\n")
    return 0
