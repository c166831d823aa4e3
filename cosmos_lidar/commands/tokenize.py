"""``cosmos-lidar tokenize``: encode videos and images into latents or indices."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_lidar.commands._codec_setup import add_codec_arguments

if TYPE_CHECKING:
    from cosmos_lidar.clips.footage import Footage
    from cosmos_lidar.families.video_tokenizer.codec import VideoCodec
    from cosmos_lidar.latents.cache import LatentCache

GROUP = "tokenizers"
HELP = "encode videos and images into latents or indices (safetensors)"
EXAMPLE = "cosmos-lidar tokenize videos/ --checkpoint checkpoints/Cosmos-1.0-Tokenizer-CV8x8x8 --out latents"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_codec_arguments(parser)
    parser.add_argument("--cache", type=Path, metavar="DIR", help="cache of latents by content, shared by commands")


def run(args: argparse.Namespace) -> int:
    """Encode every input; returns 1 if an input was skipped."""
    from cosmos_lidar.clips.footage import open_footage
    from cosmos_lidar.commands._codec_setup import input_patterns, open_codec
    from cosmos_lidar.errors import problem_of
    from cosmos_lidar.families.video_tokenizer.files import find_inputs, output_names
    from cosmos_lidar.families.video_tokenizer.latent_files import SUFFIX
    from cosmos_lidar.latents.cache import LatentCache
    from cosmos_lidar.log import logger
    from cosmos_lidar.progress import Meter

    files = [file for file in find_inputs(input_patterns(args)) if file.suffix != SUFFIX]
    codec, known = open_codec(args)
    cache = LatentCache(args.cache) if args.cache else None
    rows: list[dict[str, Any]] = []
    with Meter("tokenize", "files", len(files)) as meter:
        for file, name in zip(files, output_names(files), strict=True):
            try:
                footage = open_footage(file, args.short_size)
                rows.append(_tokenize(footage, args.out / f"{name}{SUFFIX}", codec, known, cache))
            except Exception as error:  # one odd input ends no work on the others
                problem = problem_of(error)
                logger.warning("skipped: %s: %s", file, problem)
                rows.append({"source": str(file), "problem": problem})
            meter.advance(1)
    _write_index(args.out / "index.csv", rows)
    bad = sum("problem" in row for row in rows)
    hits = f", {cache.hits} from the cache" if cache else ""
    sys.stdout.write(
        f"{len(rows) - bad} of {len(rows)} files in {args.out}{hits}; {bad or 'none'} skipped, see index.csv\n"
    )
    return 1 if bad else 0


def _tokenize(
    footage: Footage, path: Path, codec: VideoCodec, known: dict[str, Any], cache: LatentCache | None
) -> dict[str, Any]:
    """Write the latents of one file, unless they exist; returns its row of the index."""
    from cosmos_lidar.families.video_tokenizer.latent_files import write_encoded
    from cosmos_lidar.latents.cache import frames_hash, latent_key

    facts = {**known, "source": footage.path.name, "fps": footage.fps, "frames_sha256": frames_hash(footage.blocks())}
    if footage.times_s is not None:
        facts["times_s"] = list(footage.times_s)
    if not _is_done(path, facts):
        key = latent_key(facts["frames_sha256"], known["weights_sha256"], dtype=known["dtype"], tile=known["tile"])
        write_encoded(path, _encode(footage, codec, cache, key), facts)
    return {"source": str(footage.path), "file": path.name, "frames": footage.frames, **facts}


def _is_done(path: Path, facts: dict[str, Any]) -> bool:
    from cosmos_lidar.errors import DataError
    from cosmos_lidar.families.video_tokenizer.latent_files import read_facts

    try:
        there = read_facts(path) if path.exists() else {}
    except DataError:
        return False
    return bool(there) and all(there.get(name) == value for name, value in facts.items())


def _encode(footage: Footage, codec: VideoCodec, cache: LatentCache | None, key: str) -> Any:
    """Return the encoded video, from the cache if possible."""
    import torch

    from cosmos_lidar.families.video_tokenizer.codec import EncodedVideo

    if cache is None:
        return codec.encode(footage.blocks())

    def make() -> dict[str, torch.Tensor]:
        encoded = codec.encode(footage.blocks())
        numbers = torch.tensor([encoded.frames, encoded.height, encoded.width, *encoded.crop])
        kind = "indices" if encoded.latents is None else "latents"
        return {kind: getattr(encoded, kind), "sizes": numbers}

    found = cache.get_or_make(key, make)
    frames, height, width, *crop = found["sizes"].tolist()
    return EncodedVideo(found.get("latents"), found.get("indices"), frames, height, width, tuple(crop))


def _write_index(path: Path, rows: list[dict[str, Any]]) -> None:
    from cosmos_lidar.files import atomic_write

    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
