"""``cosmos-lidar convert``: a tokenizer from any published file format to safetensors or TorchScript."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

GROUP = "checkpoints"
HELP = "convert a published tokenizer to safetensors or TorchScript"
EXAMPLE = "cosmos-lidar convert checkpoints/Cosmos-Tokenizer-CI8x8-Lidar --out lidar_tokenizer.safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("source", nargs="+", type=Path, metavar="SOURCE",
                        help="folder or file of a tokenizer, or its encoder and its decoder file")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True,
                        help="NAME.safetensors, or a folder for encoder.jit, decoder.jit, autoencoder.jit")  # fmt: skip
    parser.add_argument("--ema", action="store_true", help="use the EMA weights of a training checkpoint")


def run(args: argparse.Namespace) -> int:
    """Convert; returns the exit status."""
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.models.plan import count_parameters
    from cosmos_lidar.models.tokenizer import export_jit, export_safetensors, load_tokenizer

    if len(args.source) > 2:
        raise UserError(f"{len(args.source)} sources: give a folder, a file, or an encoder and a decoder file")
    network = load_tokenizer(args.source[0] if len(args.source) == 1 else tuple(args.source), ema=args.ema)
    if args.out.suffix == ".safetensors":
        args.out.parent.mkdir(parents=True, exist_ok=True)
        files = [export_safetensors(network, args.out)]
    elif args.out.suffix and not args.out.is_dir():
        raise UserError(f"--out {args.out}: give NAME.safetensors, or a folder without a dot in its name")
    else:
        files = export_jit(network, args.out)
    config, count = network.config, count_parameters(network)
    shape = f"{config.family}, compression {config.spatial_compression}, patches of {config.patch_size}"
    sys.stdout.write(f"{shape}, {count:,} parameters\n")
    sys.stdout.writelines(f"{file}\n" for file in files)
    return 0
