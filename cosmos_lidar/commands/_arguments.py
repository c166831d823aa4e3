"""Command-line options shared by several commands; imports neither torch nor NeMo."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from cosmos_lidar.arguments import whole
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.weights import file_of

_Run = TypeVar("_Run")
_DTYPES = ("float32", "bfloat16", "float16")


def add_flag(parser: argparse.ArgumentParser, name: str, *more: str, **options: Any) -> None:
    """Add ``--some_name``, also spelled ``--some-name``; ``more`` are further spellings."""
    spellings = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}", *more))
    parser.add_argument(*spellings, dest=name, **options)


def weights_name(name: str) -> Callable[[str], str]:
    """Return the type of an option for weights: ``small`` and ``cosmos_lidar/NAME`` become the embedded model's file.

    Args:
        name: embedded model that ``small`` means.
    """

    def convert(text: str) -> str:
        try:
            return file_of(text, name)
        except UserError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return convert


def weights_file(name: str) -> Callable[[str], Path]:
    """Return the type of an option for a file of weights, as :func:`weights_name`."""
    convert = weights_name(name)
    return lambda text: Path(convert(text))


PUBLISHED = "published"  # --split by the published split of the recordings' own format


def split_shares(text: str) -> tuple[float, ...]:
    """Return the shares of train, val and test in the value of ``--split``, such as ``0.9,0.1,0``."""
    return tuple(float(share) for share in text.split(","))


def split_or_name(text: str) -> tuple[float, ...] | str:
    """Return the shares of ``--split``, or a published split: name of a dataset, ``published``, or a file of nuPlan's.

    Raises:
        ArgumentTypeError: neither.
    """
    from cosmos_lidar.clips.split_files import is_split_file
    from cosmos_lidar.clips.splits import split_names

    if text == PUBLISHED or text in split_names() or is_split_file(text):
        return text
    try:
        return split_shares(text)
    except ValueError as error:
        known = ", ".join((PUBLISHED, *split_names()))
        message = f"invalid {text!r}: expected ratios, such as 0.9,0.1,0, a split file of nuPlan (.yaml), or {known}"
        raise argparse.ArgumentTypeError(message) from error


def add_tokenizer_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a tokenizer: checkpoint, precision, device, batch size."""
    add_flag(
        parser,
        "checkpoint",
        type=weights_name("small-lidar-tokenizer"),
        metavar="PATH",
        help="tokenizer: autoencoder.pt, iter_*.pt, .jit, .safetensors, a folder with encoder.jit and decoder.jit, or "
        "small, the embedded one",
    )
    add_flag(parser, "enc_path", metavar="FILE", help="encoder.jit, together with --dec_path, instead of --checkpoint")
    add_flag(parser, "dec_path", metavar="FILE", help="decoder.jit")
    add_flag(parser, "ema", action="store_true", help="use the EMA weights of a training checkpoint")
    add_flag(
        parser,
        "tokenizer_dtype",
        choices=_DTYPES,
        default="float32",
        help="precision of the network (default %(default)s; published bfloat16, which is less exact)",
    )
    add_flag(parser, "device", default="auto", help="cpu, cuda, cuda:1, or auto (default): CUDA if available")
    add_flag(parser, "batch_size", type=whole(1), default=1, help="frames per step (default %(default)s)")


def add_lidar_argument(parser: argparse.ArgumentParser) -> None:
    """Add the options that select one lidar of a recording, and say how its point files are laid out."""
    own = "(default: the main one, listed first by `inspect`)"
    parser.add_argument("--lidar", metavar="NAME", help=f"lidar to read, if the recordings have several {own}")
    parser.add_argument(
        "--columns", type=int, metavar="N",
        help="float32 numbers per point of .bin files: x y z, intensity, others (default: those of the format)",
    )  # fmt: skip


def add_image_rule(parser: argparse.ArgumentParser, prefix: str = "") -> None:
    """Add the option for the rule by which an image of a camera belongs to a sweep; ``prefix`` begins its help."""
    add_flag(
        parser,
        "image_rule",
        choices=("frame_indices", "nearest"),
        default="frame_indices",
        help=f"{prefix}image of a sweep: the one that the recording names in frame_indices, as published (default; the "
        "nearest where it names none), or the one nearest to the middle of the sweep",
    )


def add_data_arguments(parser: argparse.ArgumentParser, max_frames: int) -> None:
    """Add the options that select reader, lidar, clips and frames of recordings; each command adds the path itself."""
    add_flag(parser, "format", metavar="NAME", help="reader of the recordings (default: recognized from the files)")
    add_flag(parser, "sensor", metavar="NAME_OR_FILE", help="sensor geometry, instead of the reader's choice")
    add_lidar_argument(parser)
    add_flag(parser, "split", metavar="NAME_OR_FILE", help="split of prepared shards, or a file with one clip per line")
    add_flag(parser, "clip", action="append", metavar="ID", help="only this clip (repeatable)")
    add_flag(
        parser,
        "max_frames",
        type=int,
        default=max_frames,
        help="first frames of each clip, -1 for all (default %(default)s)",
    )
    add_flag(
        parser,
        "waymo_top",
        action="store_true",
        help="row elevations of the 64 Waymo TOP beams, interpolated to the rows of the range maps",
    )
    add_flag(parser, "uniform_fov", action="store_true", help="rows are evenly spaced from --fov_max to --fov_min")
    add_flag(parser, "fov_min", type=float, default=-17.72, metavar="DEG", help="lowest row (default %(default)s)")
    add_flag(parser, "fov_max", type=float, default=2.21, metavar="DEG", help="highest row (default %(default)s)")


def add_image_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of range images, made from range maps; defaults are the sensor's (published for pandar128)."""
    own = "(default: the sensor's; published {})"
    add_flag(parser, "n_rows_repeat", type=int, help=f"repetitions of each row {own.format(4)}")
    add_flag(parser, "n_cols_repeat", type=int, default=1, help="repetitions of each column (default 1)")
    add_flag(parser, "downsample_factor_row", type=int, default=1, help="rows merged into one (default 1)")
    add_flag(parser, "downsample_factor_col", type=int, help=f"columns merged into one {own.format(2)}")
    add_flag(
        parser,
        "downsample_method",
        choices=("scatter_min", "scatter_max", "every_n"),
        default="scatter_min",
        help="which of merged pixels is kept: nearest return (default), farthest return, or first pixel",
    )
    add_flag(parser, "max_range", type=float, metavar="M", help=f"upper clipping limit of ranges {own.format(100)}")
    add_flag(parser, "min_range", type=float, metavar="M", help=f"lower clipping limit of ranges {own.format(5)}")
    add_flag(
        parser,
        "rows_taken",
        choices=("published", "mean"),
        default="published",
        help="which of the repeated rows is used: the middle one (default), or their mean",
    )
    add_flag(
        parser,
        "padding",
        choices=("edge", "published"),
        default="edge",
        help="pad to a multiple of 8 by repeating the edge (default), or of 16 with zeros, which mean 52.5 m",
    )
    add_flag(
        parser,
        "mask",
        choices=("input", "decoded"),
        help="reconstructed returns: where the input has one (default), or where the network predicts one (default of "
        "tokenizers that decode validity)",
    )
    add_flag(
        parser,
        "max_error",
        type=float,
        metavar="M",
        help="no return where the expected error is above this (flying points at edges); of a tokenizer with a scale",
    )


def configuration_of(
    checkpoint: Path, recipe: str | None, option: str, family: str, kind: type[_Run], aliases: Mapping[str, str]
) -> _Run:
    """Return the configuration of a run: of a recipe where one is named, else that beside a checkpoint.

    Args:
        checkpoint: file of weights.
        recipe: variant of the family; None: ``config.yaml`` beside the checkpoint.
        option: that names a recipe, for messages.
        family: recipe file, such as ``also_pretrain``.
        kind: class of its configuration.
        aliases: published keys -> ours.

    Raises:
        DataError: there is no such checkpoint, or its configuration cannot be read.
        UserError: neither recipe nor configuration, or no such recipe.
    """
    from cosmos_lidar.recipes.registry import find_family
    from cosmos_lidar.training.overrides import config_beside, load_config

    if not checkpoint.exists():
        raise DataError("no such file", file=checkpoint, wanted=f"weights of {family}, or small, the embedded ones")
    if recipe:
        recipes = find_family(family).recipes
        if recipe not in recipes:
            raise UserError(f"{option} {recipe}: valid: {', '.join(recipes)}")
        return recipes[recipe]()
    beside = config_beside(checkpoint)
    if beside is None:
        missing = checkpoint.with_name("config.yaml")
        raise UserError(f"{missing} is not there: give {option}, such as {option} nuscenes")
    return load_config(kind, beside, dict(aliases))
