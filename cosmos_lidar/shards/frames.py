"""Writer of Energon shards with one frame per sample, for any sample format."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.errors import DataError, problem_of
from cosmos_lidar.folder_lock import alone_in
from cosmos_lidar.log import logger
from cosmos_lidar.progress import Meter
from cosmos_lidar.shards.files import write_tar, write_text
from cosmos_lidar.shards.manifest import index_with_energon
from cosmos_lidar.shards.plan import PrepareOptions, split_clips
from cosmos_lidar.shards.sweeps import PackedRun

META = "meta.json"


def write_frames(
    clips: Sequence[Clip],
    pack: Callable[[Clip, int, bool], Mapping[str, bytes]],
    folder: Path,
    options: PrepareOptions,
    sample_type: str,
    document: str,
    facts: Mapping[str, object],
    every: int = 1,
    mirror: bool = False,
) -> dict[str, int]:
    """Write the frames of clips into shards, each clip in one split; returns samples per split.

    Frames that cannot be packed are skipped and listed in ``document``; they end the run when they are more than
    ``options.bad_budget``.

    Args:
        clips: drives.
        pack: (clip, frame number, mirrored) -> part name -> content; ``meta.json`` is added.
        folder: where to; empty or not there.
        options: shares of the splits, samples per shard, seed, budget.
        sample_type: which of the cookers reads the samples.
        document: name of the file that describes the shards.
        facts: what goes into it, besides numbers and clips of each split, and skipped frames.
        every: take every n-th frame.
        mirror: write training frames a second time, mirrored.

    Raises:
        DataError: the folder is not empty, the disk is full, or too many frames cannot be packed.
        UserError: fewer clips than splits, or another run at work in the folder.
    """
    splits = split_clips(clips, options)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError("the folder is not empty", file=folder, wanted="an empty folder, or one that is not there")
    folder.mkdir(parents=True, exist_ok=True)
    by_id = {clip.clip_id: clip for clip in clips}
    total = sum(len(range(0, len(by_id[name]), every)) for names in splits.values() for name in names)
    left_out: list[dict[str, str]] = []
    counts: dict[str, int] = {}
    names: list[str] = []
    with alone_in(folder), Meter("encode", "frames", total) as meter:
        for split, members in splits.items():
            mine = [by_id[name] for name in members]
            ways = (False, True) if mirror and split == "train" else (False,)
            samples = _samples(mine, pack, every, ways, left_out, options.bad_budget * total, meter)
            counts[split] = _write_split(folder, split, samples, options.samples_per_shard, names)
        index_with_energon(folder, names, sample_type=sample_type)
        description = {**facts, "samples": counts, "left_out": left_out, "clips": splits}
        write_text(folder / document, json.dumps(description, indent=1) + "\n")
    return counts


def _samples(
    clips: Sequence[Clip],
    pack: Callable[[Clip, int, bool], Mapping[str, bytes]],
    every: int,
    ways: tuple[bool, ...],
    left_out: list[dict[str, str]],
    allowed: float,
    meter: Meter,
) -> Iterator[PackedRun]:
    for clip in clips:
        for index in range(0, len(clip), every):
            try:
                packed = [(way, pack(clip, index, way)) for way in ways]
            except Exception as error:  # one odd frame ends no work on the others
                problem = problem_of(error)
                logger.warning("skipped frame %s of clip %s: %s", clip.frame_ids[index], clip.clip_id, problem)
                left_out.append({"clip": clip.clip_id, "frame": clip.frame_ids[index], "problem": problem})
                if len(left_out) > allowed:
                    raise
            else:
                for way, parts in packed:
                    meta = {"clip_id": clip.clip_id, "frame_id": clip.frame_ids[index], "mirrored": way}
                    key = f"{clip.clip_id}_{index:06d}" + ("_mirrored" if way else "")
                    yield PackedRun(key, {**parts, META: json.dumps(meta).encode()}, 1, 0)
            meter.advance(1)


def _write_split(folder: Path, split: str, samples: Iterator[PackedRun], per_shard: int, names: list[str]) -> int:
    count = number = 0
    while True:
        shard = list(itertools.islice(samples, per_shard))
        if not shard:
            return count
        names.append(f"{split}-{number:06d}.tar")
        write_tar(folder / names[-1], shard)
        count, number = count + len(shard), number + 1
