"""Integrity check of folders without a manifest: tars against Energon's index, and every part decoded."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

from cosmos_lidar.arrays import read_npy
from cosmos_lidar.clips.range_codec import decode_intensities, decode_labels, decode_ranges
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import file_sha256, parse_json, read_text
from cosmos_lidar.progress import Meter
from cosmos_lidar.shards.check import CheckResult, Problem, read_samples
from cosmos_lidar.shards.energon_index import EnergonIndex, SamplePlace, read_energon_index
from cosmos_lidar.shards.energon_yaml import describe_samples
from cosmos_lidar.shards.latents import LATENTS
from cosmos_lidar.shards.manifest import ENERGON
from cosmos_lidar.shards.multiview import DOCUMENT as MULTIVIEW
from cosmos_lidar.shards.points import DOCUMENT as POINTS
from cosmos_lidar.shards.views import VIEWS
from cosmos_lidar.tars import BROKEN_TAR

_DOCUMENTS = (MULTIVIEW, LATENTS, VIEWS, POINTS)
_VIDEOS = ("mp4", "mov", "mkv", "avi", "webm", "m4v")
_BROKEN = (DataError, OSError, ValueError, EOFError, LookupError, RecursionError, struct.error, zipfile.BadZipFile)


def check_indexed(folder: Path, trust: bool = False) -> CheckResult:
    """Check a folder that only Energon describes: latents, frames, or what `energon prepare` indexed.

    Checksums are those of ``multiview.json``, ``latents.json``, ``views.json`` or ``points.json``. Without these, what
    decodes counts as whole.

    Args:
        folder: of shards.
        trust: accept sample loaders, which are not run: what the tars hold is checked.

    Raises:
        DataError: there is no index.
    """
    index, result = read_energon_index(folder), CheckResult()
    try:
        describe_samples(folder / ENERGON / "dataset.yaml", trust)
    except DataError as error:
        result.problems.append(Problem(str(error)))
    with Meter("check", "samples", sum(map(len, index.samples.values()))) as meter:
        for shard, places in index.samples.items():
            _check_shard(folder / shard, places, result, meter)
    for name in _DOCUMENTS:
        if (folder / name).is_file():
            _check_listed(folder / name, index, result)
    for split, shards in index.splits.items():
        for shard in sorted(set(shards) - set(index.samples)):
            result.problems.append(Problem(f"split {split} names a shard that is not indexed", shard))
    return result


def _check_shard(path: Path, indexed: list[SamplePlace], result: CheckResult, meter: Meter) -> None:
    found = []
    try:
        for place, parts in read_samples(path):
            found.append(place)
            result.samples += 1
            for part, content in parts.items():
                problem = _decode(part, content)
                if problem:
                    result.problems.append(Problem(problem, path.name, key=f"{place.key}.{part}"))
            meter.advance(1)
        result.shards += 1
        result.bytes += path.stat().st_size
    except (DataError, *BROKEN_TAR) as error:
        result.problems.append(Problem(f"the tar is cut or damaged after {len(found)} samples: {error}", path.name))
    if found != indexed:
        problem = f"Energon's index has {len(indexed)} samples, the tar {len(found)}, or they lie elsewhere"
        result.problems.append(Problem(problem, path.name))


def _check_listed(path: Path, index: EnergonIndex, result: CheckResult) -> None:
    """Compare the shards that a document lists with the index, and their content with what was written."""
    try:
        document = parse_json(read_text(path))
        if "shards" not in document:  # latents and views of earlier versions
            return
        listed = {str(shard["name"]): shard["sha256"] for shard in document["shards"]}
    except (DataError, OSError, ValueError, LookupError, TypeError) as error:
        result.problems.append(Problem(f"{path.name} is not readable: {error!r:.160}"))
        return
    for name in sorted(set(listed) ^ set(index.samples)):
        known = f"in {path.name} and not in Energon's index"
        unknown = f"not in {path.name}, but Energon would read it"
        result.problems.append(Problem(f"this tar is {known if name in listed else unknown}", name))
    for name in sorted(set(listed) & set(index.samples)):
        shard = path.parent / name
        if shard.is_file() and file_sha256(shard) != listed[name]:
            result.problems.append(Problem(f"sha256 differs from the one in {path.name}", name))


def _decode(part: str, content: bytes) -> str | None:
    """Return what is wrong with the content of a part, or None; parts of unknown kinds are not looked at."""
    decode = next((function for end, function in _DECODERS.items() if part == end or part.endswith(f".{end}")), None)
    try:
        if decode is not None:
            decode(content)
    except _BROKEN as error:
        return str(error) or type(error).__name__
    return None


def _decode_image(content: bytes) -> None:
    from cosmos_lidar.clips.images import read_image

    read_image(content)


def _decode_video(content: bytes) -> None:
    from cosmos_lidar.clips.video import VideoFile

    VideoFile(Path("video.mp4"), content=content).check()


_DECODERS: dict[str, Callable[[bytes], object]] = {
    "ranges.bin": decode_ranges,
    "intensity.bin": decode_intensities,
    "labels.bin": decode_labels,
    "npy": read_npy,
    "json": parse_json,
    **dict.fromkeys(("jpg", "jpeg", "png"), _decode_image),
    **dict.fromkeys(_VIDEOS, _decode_video),
}
