"""Clips, tokenizer and range-image options of a command line."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from cosmos_lidar.clips import Clip, open_clips
from cosmos_lidar.clips.split_files import read_list
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.lidar_tokenizer.autoencode import AutoencodeOptions, decodes_validity
from cosmos_lidar.families.lidar_tokenizer.open import OpenTokenizer, open_tokenizer
from cosmos_lidar.sensors import Sensor, load_sensor
from cosmos_lidar.shards.clips import is_shards, open_shards


def tokenizer_of(args: argparse.Namespace, any_kind: bool = False) -> OpenTokenizer:
    """Load the tokenizer of ``--checkpoint``, or of ``--enc_path`` and ``--dec_path``.

    Args:
        args: parsed options.
        any_kind: accept video tokenizers, too.

    Raises:
        UserError: neither or both are given, a file is missing, or the device is not available.
    """
    dtype = getattr(torch, args.tokenizer_dtype)
    return open_tokenizer(_tokenizer_files(args), args.device, dtype, args.ema, any_kind)


def _tokenizer_files(args: argparse.Namespace) -> list[Path]:
    pair = [path for path in (args.enc_path, args.dec_path) if path]
    if args.checkpoint and pair:
        raise UserError("--checkpoint and --enc_path/--dec_path exclude each other: give one tokenizer")
    if args.checkpoint:
        return [Path(args.checkpoint)]
    if len(pair) != 2:
        raise UserError("no tokenizer: give --checkpoint, or both --enc_path and --dec_path")
    return [Path(path) for path in pair]


def choose_clips(path: str | Path, args: argparse.Namespace) -> list[Clip]:
    """Return the clips of the recordings, filtered by the options, with the selected sensor.

    Args:
        path: recordings, or a folder of prepared shards.
        args: parsed options; ``split`` is a split of the shards, or a file that lists clips.

    Raises:
        UserError: no reader recognizes ``path``, or a clip, split or list does not exist.
    """
    path, split = Path(path), args.split
    if is_shards(path) and args.format in (None, "shards"):
        if args.sensor:
            raise UserError(f"--sensor is not valid for prepared shards: {path} has its own sensor files")
        if args.lidar:
            raise UserError(f"--lidar cannot be chosen for prepared shards: {path} holds one lidar")
        named = split if split and not Path(split).is_file() else None
        clips, split = open_shards(path, named), None if named else split
    else:
        clips = open_clips(path, format=args.format, sensor=args.sensor, lidar=args.lidar, columns=args.columns)
    if split:
        listed = set(read_list(Path(split)))
        clips = [clip for clip in clips if clip.clip_id in listed]
        if not clips:
            raise DataError("none of the listed clips exists", file=split, wanted=f"ids of clips in {path}")
    if args.clip:
        clips = _named(clips, args.clip, path)
    return [clip.with_lidar(sensor=choose_rows(clip.sensor, args)) for clip in clips]


def _named(clips: list[Clip], names: list[str], path: Path) -> list[Clip]:
    known = {clip.clip_id: clip for clip in clips}
    for name in names:
        if name not in known:
            shown = ", ".join(list(known)[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
            raise DataError("no such clip", file=path, clip=name, wanted=f"one of {shown}")
    return [known[name] for name in dict.fromkeys(names)]


def choose_rows(sensor: Sensor, args: argparse.Namespace) -> Sensor:
    """Return the sensor with the row elevations of ``--waymo_top`` or ``--uniform_fov``, else unchanged.

    Raises:
        UserError: both are given, or the field of view is empty.
    """
    if args.waymo_top and args.uniform_fov:
        raise UserError("--waymo_top and --uniform_fov exclude each other")
    if args.uniform_fov:
        if args.fov_min >= args.fov_max:
            raise UserError(f"--fov_min {args.fov_min} is not below --fov_max {args.fov_max}")
        return sensor.with_rows(np.radians(np.linspace(args.fov_max, args.fov_min, sensor.rows)), np.zeros(sensor.rows))
    if args.waymo_top:
        beams = load_sensor("waymo_top").row_elevations_rad
        at = np.linspace(0.0, len(beams) - 1.0, sensor.rows)
        return sensor.with_rows(np.interp(at, np.arange(len(beams)), beams), np.zeros(sensor.rows))
    return sensor


def choose_options(args: argparse.Namespace, sensor: Sensor, tokenizer: object | None = None) -> AutoencodeOptions:
    """Return the range-image options of a sensor: its own format, changed by the options that are given.

    Args:
        args: parsed options.
        sensor: of the clips.
        tokenizer: decides where returns are without ``--mask``: one that decodes validity gives them.

    Raises:
        UserError: a value is invalid.
    """
    asked = {
        "min_range_m": args.min_range,
        "max_range_m": args.max_range,
        "pair_columns": args.downsample_factor_col,
        "repeat_rows": args.n_rows_repeat,
    }
    return AutoencodeOptions(
        format=replace(sensor.format, **{key: value for key, value in asked.items() if value is not None}),
        merge_rows=args.downsample_factor_row,
        merge_method=args.downsample_method,
        repeat_columns=args.n_cols_repeat,
        rows_taken=args.rows_taken,
        padding=args.padding,
        mask=args.mask or ("decoded" if decodes_validity(tokenizer) else "input"),
        max_error_m=args.max_error,
        batch_size=args.batch_size,
    )
