"""``cosmos-lidar push``: a trained model with its model card to a repository of the Hugging Face Hub."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from cosmos_lidar.arguments import out_folder

GROUP = "checkpoints"
HELP = "upload a model to the Hugging Face Hub: safetensors, configuration, card with metrics, preview, license"
EXAMPLE = "cosmos-lidar push checkpoints/iter_000000030 my-org/lidar-tokenizer --metrics results.json --dry-run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "checkpoint", metavar="CKPT",
        help="folder iter_N of a run, a published file or folder of weights, or a model by its name",
    )  # fmt: skip
    parser.add_argument("name", metavar="ORG/NAME", help="repository of the Hub, made when absent")
    parser.add_argument("--dry-run", action="store_true", help="write the folder and upload nothing")
    parser.add_argument(
        "--out", type=out_folder, metavar="DIR",
        help="folder to write; default: NAME with --dry-run, else a temporary one",
    )  # fmt: skip
    parser.add_argument(
        "--metrics", type=Path, nargs="+", default=[], metavar="FILE",
        help="JSON of evaluate, evaluate-semseg, reconstruct or generate-lidar, for the card",
    )  # fmt: skip
    parser.add_argument(
        "--preview", type=Path, metavar="FILE", help="picture or mp4 (default: newest sample of the run)"
    )
    parser.add_argument("--summary", default="", metavar="TEXT", help="a paragraph for the card")
    parser.add_argument(
        "--license", default="", metavar="ID",
        help="such as apache-2.0, the default for weights that were trained from random or embedded ones",
    )  # fmt: skip
    parser.add_argument("--license-file", type=Path, metavar="FILE", help="its text")
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        default="",
        help="of the stored weights (default: as before, or float32)",
    )
    parser.add_argument("--network", default="", metavar="NAME", help="shape of a diffusion transformer in a file")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument("--revision", default="", metavar="BRANCH", help="branch to commit to, made when absent")
    parser.add_argument("--message", default="", metavar="TEXT", help="of the commit")


def run(args: argparse.Namespace) -> int:
    """Write the folder, upload it, print its files and address; returns the exit status.

    Raises:
        UserError: no name of a repository, an unknown license, no token, or no connection.
        DataError: an unreadable checkpoint or metrics file.
    """
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.models.tokenizer.pretrained import is_hub_name

    if not is_hub_name(args.name):
        raise UserError(f"{args.name}: expected the name of a repository, such as my-org/lidar-tokenizer")
    if args.out or args.dry_run:
        return _push(args, args.out or Path(args.name.rpartition("/")[2]))
    with tempfile.TemporaryDirectory() as folder:
        return _push(args, Path(folder))


def _push(args: argparse.Namespace, folder: Path) -> int:
    from cosmos_lidar.hub.finding import find_model
    from cosmos_lidar.hub.opening import open_model
    from cosmos_lidar.hub.package import PackageOptions, write_package
    from cosmos_lidar.hub.upload import upload

    origin = find_model(args.checkpoint)
    options = PackageOptions(
        name=args.name,
        dtype=args.dtype,
        license=args.license,
        license_file=args.license_file,
        metrics=args.metrics,
        preview=args.preview,
        summary=args.summary,
    )
    files = write_package(open_model(origin, args.network), origin, folder, options)
    if args.dry_run:
        sys.stdout.writelines(f"{file}\n" for file in files)
        return 0
    url = upload(files, args.name, private=args.private, revision=args.revision, message=args.message)
    sys.stdout.write(f"{', '.join(file.name for file in files)}\n{url}\n")
    return 0
