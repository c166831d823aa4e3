"""``cosmos-lidar merge-lora``: add LoRA adapters to the weights that they were trained on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cosmos_lidar.arguments import decimal, out_file

GROUP = "checkpoints"
HELP = "merge LoRA adapters into the weights that they were trained on"
EXAMPLE = "cosmos-lidar merge-lora model.safetensors iter_000000500_ema_lora --out merged.safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "base", metavar="WEIGHTS", type=Path,
        help="weights: .pt, .safetensors or an index of several; a published LoRA checkpoint has adapters in it",
    )  # fmt: skip
    parser.add_argument(
        "adapters", metavar="ADAPTER", type=Path, nargs="*",
        help="folder with adapter_model.safetensors and adapter_config.json, as training and PEFT write it",
    )  # fmt: skip
    parser.add_argument("--out", metavar="FILE", type=out_file, required=True, help=".safetensors or .pt to write")
    parser.add_argument("--ema", action="store_true", help="of a checkpoint with EMA weights (net_ema.), take these")
    parser.add_argument(
        "--alpha", type=decimal(0), default=0.0,
        help="scale times rank of adapters inside WEIGHTS, which do not record it (default: their rank)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Merge; returns the exit status."""
    from cosmos_lidar.models.dit.lora_merge import merge_files

    count = merge_files(args.base, args.adapters, args.out, args.ema, args.alpha)
    sys.stdout.write(f"{args.out}: {count} layers merged\n")
    return 0
