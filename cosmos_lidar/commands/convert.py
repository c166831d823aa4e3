"""``cosmos-lidar convert``: a tokenizer from any published format, or a folder of Diffusers, to files of ours."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cosmos_lidar.commands._arguments import weights_file

GROUP = "checkpoints"
HELP = "convert a published tokenizer, or a folder of Diffusers, to safetensors or TorchScript"
EXAMPLE = "cosmos-lidar convert checkpoints/Cosmos-Tokenizer-CI8x8-Lidar --out lidar_tokenizer.safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("source", nargs="+", type=weights_file("small-lidar-tokenizer"), metavar="SOURCE",
                        help="tokenizer: a folder, a file, both its files, small, a folder of Diffusers")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True,
                        help="NAME.safetensors, or a folder for encoder.jit, decoder.jit, autoencoder.jit")  # fmt: skip
    parser.add_argument("--ema", action="store_true", help="use the EMA weights of a training checkpoint")


def run(args: argparse.Namespace) -> int:
    """Convert; returns the exit status."""
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.models.plan import count_parameters
    from cosmos_lidar.models.tokenizer import export_jit, export_safetensors, load_tokenizer

    if len(args.source) == 1 and _is_diffusers(args.source[0]):
        return _from_diffusers(args)
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


def _is_diffusers(source: Path) -> bool:
    """Return whether this is a folder of Diffusers that holds something else than a tokenizer."""
    from cosmos_lidar.models.diffusers_folder import class_in

    return class_in(source) not in (None, "AutoencoderKLCosmos")


def _from_diffusers(args: argparse.Namespace) -> int:
    """Write the network of a Diffusers folder as safetensors with its published names.

    Raises:
        DataError: a class without a network here.
        UserError: another kind of file, or EMA weights.
    """
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.models.diffusers import from_diffusers
    from cosmos_lidar.models.plan import count_parameters
    from cosmos_lidar.models.tokenizer import export_safetensors

    if args.ema or args.out.suffix != ".safetensors":
        raise UserError(f"--out {args.out}: of this folder of Diffusers, expected NAME.safetensors, without --ema")
    network = from_diffusers(args.source[0])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    export_safetensors(network, args.out)
    sys.stdout.write(f"{type(network).__name__}, {count_parameters(network):,} parameters\n{args.out}\n")
    return 0
