"""``cosmos-lidar encode-clips``: encode clips of several cameras into latents for multi-view training."""

from __future__ import annotations

import argparse
import sys

from cosmos_lidar.arguments import out_folder
from cosmos_lidar.commands._arguments import add_flag

GROUP = "generation"
HELP = "encode videos of several cameras into latents, with rays and text, as shards for recipes/multiview.py"
EXAMPLE = "cosmos-lidar encode-clips multiview_shards latents --vae wan2_1.pth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("source", metavar="SRC", help="shards of `prepare --task multiview`, or the guide's folder")
    parser.add_argument("out", metavar="OUT", type=out_folder, help="folder for the shards, empty or absent")
    add_flag(parser, "vae", required=True, metavar="FILE", help="Wan2.1 VAE (tokenizer.pth)")
    add_flag(parser, "splits", default="train,val", metavar="A,B", help="splits to encode (default %(default)s)")
    recipe = "predict2_multiview_2b_720p_10fps_7views_29frames_waymo5views"
    add_flag(
        parser, "recipe", default=recipe, metavar="NAME",
        help="variant of recipes/multiview.py whose data options are taken (default: the published one)",
    )  # fmt: skip
    add_flag(parser, "device", default="auto", help="auto (default), cpu, cuda …")
    add_flag(
        parser, "options", nargs="+", default=[], metavar="key=value",
        help="its options, such as data.view_ids=[5,0,1] data.latent_shape=[16,8,60,106]",
    )  # fmt: skip


def needs(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the optional packages that the command needs."""
    return ("megatron.energon",)


def run(args: argparse.Namespace) -> int:
    """Encode each split; returns the exit status."""
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.families.multiview.encode import encode_shards
    from cosmos_lidar.parallel.devices import choose_device
    from cosmos_lidar.recipes.registry import find_family
    from cosmos_lidar.training.overrides import apply_overrides

    variants = find_family("multiview").recipes
    if args.recipe not in variants:
        raise UserError(f"--recipe {args.recipe}: valid: {', '.join(variants)}")
    own = ["synthetic_clips=0", "parallel.context=1", f"data.path={args.source}", f"data.vae.checkpoint={args.vae}"]
    configuration = apply_overrides(variants[args.recipe](), [*own, *args.options])
    configuration.check()
    splits = [name.strip() for name in args.splits.split(",") if name.strip()]
    controls = configuration.model.control.kinds
    counts = encode_shards(configuration.data, args.out, splits, choose_device(args.device), controls)
    shown = ", ".join(f"{split} {count}" for split, count in counts.items())
    sys.stdout.write(f"{args.out}: {shown} clips\ntrain on them: data.path={args.out}, without data.vae.checkpoint\n")
    return 0
