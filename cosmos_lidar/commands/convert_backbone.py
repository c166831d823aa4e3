"""``cosmos-lidar convert-backbone``: sparse backbones from any known file to segmentation or OpenPCDet weights."""

from __future__ import annotations

import argparse
import sys

from cosmos_lidar.arguments import out_file, whole
from cosmos_lidar.commands._arguments import weights_file

GROUP = "checkpoints"
HELP = "convert a sparse backbone (MinkUNet, SPVCNN, SECOND) for segmentation or OpenPCDet"
EXAMPLE = "cosmos-lidar convert-backbone pretrained_backbone_also_kitti3d_second_epoch_499.ckpt --out second.pth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "source", type=weights_file("small-backbone"), metavar="SOURCE",
        help="file of weights, training checkpoint, or small, the embedded one",
    )  # fmt: skip
    parser.add_argument("--out", type=out_file, required=True, help="file to write: NAME.pth, or NAME.safetensors")
    parser.add_argument("--to", choices=("segmentation", "openpcdet"),
                        help="flat weights, or model_state of OpenPCDet; default: openpcdet for second")  # fmt: skip
    parser.add_argument("--classifier", action="store_true", help="segmentation: keep the last linear layer")
    parser.add_argument("--grid", type=whole(1), nargs=3, metavar=("X", "Y", "Z"), help="voxels of second's range")


def run(args: argparse.Namespace) -> int:
    """Convert; returns the exit status."""
    from cosmos_lidar.models.plan import count_parameters
    from cosmos_lidar.models.sparse import load_backbone
    from cosmos_lidar.models.sparse.export import Target, write_backbone
    from cosmos_lidar.models.sparse.second import KITTI_GRID

    network = load_backbone(args.source, grid=tuple(args.grid) if args.grid else KITTI_GRID)
    target: Target = args.to or ("openpcdet" if network.name == "second" else "segmentation")
    write_backbone(network, args.out, target, args.classifier)
    count, channels = count_parameters(network), network.in_channels
    sys.stdout.write(f"{network.name}, {channels} input channels, {count:,} parameters, for {target}\n{args.out}\n")
    return 0
