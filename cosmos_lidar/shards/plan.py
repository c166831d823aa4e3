"""Plan of a dataset, made before anything is read: clips into splits, frames into samples, samples into shards."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.range_codec import MAX_STEPS
from cosmos_lidar.clips.split_files import read_list, split_identity
from cosmos_lidar.clips.splits import SPLITS, open_published
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.log import logger

_Item = TypeVar("_Item")
_LATER = ("published", "skip_unlisted", "whole_drives")  # options that fingerprints of stored shards predate


@dataclass(frozen=True)
class PrepareOptions:
    """Options that determine the content of shards: the same options and clips give the same bytes.

    Attributes:
        split: fractions of the clips for train, val and test.
        split_lists: files of clip ids, one per split in the same order; replaces ``split``.
        published: name of a published split (:func:`cosmos_lidar.clips.splits.split_names`), or a split file of nuPlan;
            replaces ``split``.
        skip_unlisted: leave out clips that are in no list of the published split, instead of refusing them.
        whole_drives: a shard ends where a drive ends, so that no drive is in two shards: whoever splits the shards
            again, by whole tars, divides no drive. Shards of long drives are larger than ``samples_per_shard``.
        drive_pattern: regular expression found in clip ids; clips with the same match are one drive, never divided.
        frames_per_sample: most consecutive frames in one Energon sample; samples of a clip are nearly equal.
        samples_per_shard: samples in one tar.
        seed: of the order in which drives are assigned to splits.
        bad_budget: largest tolerated fraction of frames that cannot be read.
    """

    split: tuple[float, ...] = (0.9, 0.1, 0.0)
    split_lists: tuple[Path, ...] = ()
    drive_pattern: str = "^.*$"
    frames_per_sample: int = 10
    samples_per_shard: int = 64
    seed: int = 0
    bad_budget: float = 0.001
    published: str = ""
    skip_unlisted: bool = False
    whole_drives: bool = False

    def content(self) -> dict[str, Any]:
        """Return the options that determine content, for fingerprints; later ones where they are not the default."""
        found = {key: value for key, value in asdict(self).items() if key != "bad_budget"}
        found["published"] = split_identity(self.published)
        usual = {field.name: field.default for field in fields(self)}
        return {key: value for key, value in found.items() if key not in _LATER or value != usual[key]}


@dataclass(frozen=True)
class FrameSpan:
    """Consecutive frames of one clip: one Energon sample.

    Attributes:
        clip: place of the clip in the list of clips.
        key: key of the sample.
        start: first frame.
        stop: one past the last frame.
    """

    clip: int
    key: str
    start: int
    stop: int


Run = FrameSpan  # the former name


@dataclass(frozen=True)
class ShardPlan:
    """One tar file to be written: its name, its split, its samples in order."""

    name: str
    split: str
    runs: tuple[FrameSpan, ...]

    @property
    def frames(self) -> int:
        """Frames in all samples."""
        return sum(run.stop - run.start for run in self.runs)


@dataclass(frozen=True)
class Plan:
    """All shards to be written.

    Attributes:
        shards: in the order of writing.
        splits: split name -> clip ids.
        fingerprint: changes with the clips, their frames, their sensors and every option that changes the content.
        left_out: clip ids with frames that are in no list.
    """

    shards: tuple[ShardPlan, ...]
    splits: dict[str, list[str]]
    fingerprint: str
    left_out: tuple[str, ...] = ()

    @property
    def frames(self) -> int:
        """Frames in all shards."""
        return sum(shard.frames for shard in self.shards)


def make_plan(clips: Sequence[Clip], options: PrepareOptions) -> Plan:
    """Assign clips to splits, frames to samples, samples to shards.

    Raises:
        DataError: no clip or frame, clip ids that cannot be keys, or a sensor whose ranges cannot be stored.
        UserError: options that make no sense, or fewer drives than splits.
    """
    splits = split_clips(clips, options)
    numbers = {clip.clip_id: number for number, clip in enumerate(clips)}
    drive_of = drives_of({clip.clip_id: len(clip) for clip in clips}, options)
    shards = [
        shard
        for split, clip_ids in splits.items()
        for shard in _plan_shards(split, [(numbers[clip_id], clips[numbers[clip_id]]) for clip_id in clip_ids],
                                  drive_of, options)
    ]  # fmt: skip
    taken = {clip_id for clip_ids in splits.values() for clip_id in clip_ids}
    left_out = tuple(clip_id for clip_id in drive_of if clip_id not in taken)
    return Plan(tuple(shards), splits, _fingerprint(clips, options), left_out)


def split_clips(clips: Sequence[Clip], options: PrepareOptions) -> dict[str, list[str]]:
    """Return the clip ids of each split: as published or listed, else whole drives by share; raises as make_plan."""
    _check_options(options)
    _check_clips(clips)
    frames = {clip.clip_id: len(clip) for clip in clips}
    return split_ids(frames, options, {clip.clip_id: clip.source for clip in clips})


def split_ids(frames: Mapping[str, int], options: PrepareOptions, sources: Mapping[str, Path]) -> dict[str, list[str]]:
    """Return the clip ids of each split: as published or listed, else whole drives by share.

    Args:
        frames: clip id -> its frames; clips without any belong to no drive.
        options: shares, lists or a published split, pattern of the drives, seed.
        sources: clip id -> its files, whose folders name the published split of some datasets.

    Raises:
        DataError: a list that names clips that are not there or divides a drive, clips that are in no published list,
            or a pattern that is not found.
        UserError: options that make no sense, or fewer drives than splits.
    """
    _check_options(options)
    if not (options.published or options.split_lists):
        return _dealt_splits(frames, options)
    if options.published:
        splits = _published_splits(frames, options, sources)
    else:
        splits = _listed_splits(frames, options)
    drives = _drives(frames, options.drive_pattern)
    _refuse_divided(splits, drives)
    taken = {clip_id for clip_ids in splits.values() for clip_id in clip_ids}
    left_out = [clip_id for clip_ids in drives.values() for clip_id in clip_ids if clip_id not in taken]
    if left_out:
        more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
        logger.warning("%d clips are in no list and left out: %s%s", len(left_out), ", ".join(left_out[:3]), more)
    return splits


def _check_options(options: PrepareOptions) -> None:
    if options.frames_per_sample < 1 or options.samples_per_shard < 1:
        raise UserError("--frames-per-sample and --samples-per-shard must be at least 1")
    if not 0 <= options.bad_budget <= 1:
        raise UserError(f"--bad-budget {options.bad_budget}: must lie between 0 and 1 (0.001: one frame in a thousand)")
    if len(options.split) > len(SPLITS) or any(share < 0 for share in options.split) or sum(options.split) <= 0:
        raise UserError(f"--split {options.split}: up to three shares ({', '.join(SPLITS)}), none negative, not all 0")
    if len(options.split_lists) > len(SPLITS):
        raise UserError(f"--split-list: up to three files, for {', '.join(SPLITS)}")
    if options.published and options.split_lists:
        raise UserError(f"--split {options.published} excludes --split-list: each names the clips of every split")
    if options.skip_unlisted and not options.published:
        raise UserError("--skip-unlisted is for published splits, such as --split nuscenes")


def _check_clips(clips: Sequence[Clip]) -> None:
    if not clips:
        raise DataError("no clip to prepare", wanted="at least one clip")
    seen = set()
    for clip in clips:
        if not re.fullmatch(r"[^./\s]+", clip.clip_id):
            wanted = "a name without dots, slashes and blanks: a dot ends the key of an Energon sample"
            raise DataError("clip id cannot be a key", file=clip.source, clip=clip.clip_id, wanted=wanted)
        if clip.clip_id in seen:
            raise DataError("two clips have this id", file=clip.source, clip=clip.clip_id, wanted="unique clip ids")
        seen.add(clip.clip_id)
        farthest = MAX_STEPS * clip.sensor.range_step_m
        if clip.sensor.max_range_m > farthest:
            problem = f"sensor {clip.sensor.name} reaches {clip.sensor.max_range_m} m"
            wanted = f"at most {farthest:.1f} m, or a larger range_step_m in the sensor file"
            raise DataError(problem, file=clip.source, clip=clip.clip_id, key="max_range_m", wanted=wanted)
    if not any(len(clip) for clip in clips):
        raise DataError("no clip holds a frame", file=clips[0].source, wanted="at least one frame")


def drives_of(frames: Mapping[str, int], options: PrepareOptions) -> dict[str, str]:
    """Return clip id -> drive of the clips that hold a frame; arguments and errors as of :func:`split_ids`."""
    return {clip_id: drive for drive, ids in _drives(frames, options.drive_pattern).items() for clip_id in ids}


def _drives(frames: Mapping[str, int], pattern: str) -> dict[str, list[str]]:
    """Return drive -> clip ids; clips without a frame belong to no drive."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"--drive-pattern {pattern!r} is not a regular expression: {error}") from error
    drives: dict[str, list[str]] = defaultdict(list)
    for clip_id, count in frames.items():
        match = compiled.search(clip_id)
        if match is None:
            wanted = "a pattern that is found in every clip id"
            raise DataError(f"--drive-pattern {pattern!r} is not found", clip=clip_id, wanted=wanted)
        if count:
            drives[match[0]].append(clip_id)
    return drives


def _dealt_splits(frames: Mapping[str, int], options: PrepareOptions) -> dict[str, list[str]]:
    drives = _drives(frames, options.drive_pattern)
    place = {clip_id: number for number, clip_id in enumerate(frames)}
    return {
        split: sorted((clip_id for drive in mine for clip_id in drives[drive]), key=place.__getitem__)
        for split, mine in deal_drives(drives, options).items()
    }


def deal_drives(drives: Iterable[str], options: PrepareOptions) -> dict[str, list[str]]:
    """Return the drives of each split that has any, in the order of a hash of seed and name.

    Raises:
        UserError: fewer drives than splits with a share.
    """
    order = sorted(drives, key=lambda drive: hashlib.sha256(f"{options.seed}:{drive}".encode()).digest())
    counts = share_out(len(order), options.split)
    ends = list(itertools.accumulate(counts))
    return {split: order[end - count : end] for split, count, end in zip(SPLITS, counts, ends, strict=False) if count}


def share_out(drives: int, shares: Sequence[float]) -> list[int]:
    """Return drives per split: at least one for each share above zero, the rest by largest remainder."""
    asked = [number for number, share in enumerate(shares) if share > 0]
    if drives < len(asked):
        empty = " and ".join(SPLITS[number] for number in asked[drives:])
        raise UserError(
            f"{drives} drive(s) for {len(asked)} splits leave {empty} empty, because a drive is never divided: "
            "give more drives, or a share of 0 with --split"
        )
    ideal = [share / sum(shares) * drives for share in shares]
    counts = [max(int(value), 1) if share > 0 else 0 for value, share in zip(ideal, shares, strict=True)]
    while sum(counts) != drives:
        step = 1 if sum(counts) < drives else -1
        movable = [number for number in asked if step > 0 or counts[number] > 1]
        counts[max(movable, key=lambda number: step * (ideal[number] - counts[number]))] += step
    return counts


def _published_splits(
    frames: Mapping[str, int], options: PrepareOptions, sources: Mapping[str, Path]
) -> dict[str, list[str]]:
    published = open_published(options.published)
    found = {clip_id: published.of(clip_id, sources[clip_id]) for clip_id, count in frames.items() if count}
    unlisted = [clip_id for clip_id, split in found.items() if split is None]
    if unlisted and (not options.skip_unlisted or len(unlisted) == len(found)):
        problem = f"{len(unlisted)} of {len(found)} clips are in no split of {options.published}"
        kind = "folders " + ", ".join(published.folders) if published.folders else f"{len(published.names)} names"
        wanted = f"one of its {kind}; --skip-unlisted leaves out clips that are in none"
        raise DataError(problem, file=sources[unlisted[0]], clip=unlisted[0], wanted=wanted)
    return {split: mine for split in SPLITS if (mine := [name for name, of in found.items() if of == split])}


def _refuse_divided(splits: Mapping[str, Sequence[str]], drives: Mapping[str, Sequence[str]]) -> None:
    """Refuse lists that put clips of one drive into two splits."""
    split_of = {clip_id: split for split, clip_ids in splits.items() for clip_id in clip_ids}
    for drive, clip_ids in drives.items():
        found = [split for split in splits if any(split_of.get(clip_id) == split for clip_id in clip_ids)]
        if len(found) > 1:
            wanted = "lists that keep the clips of a drive, as --drive-pattern has it, together"
            raise DataError(f"drive {drive} is in {' and '.join(found)}", clip=clip_ids[0], wanted=wanted)


def _listed_splits(frames: Mapping[str, int], options: PrepareOptions) -> dict[str, list[str]]:
    taken: dict[str, str] = {}
    splits: dict[str, list[str]] = {}
    for split, path in zip(SPLITS, options.split_lists, strict=False):
        splits[split] = []
        for clip_id in read_list(path):
            if clip_id not in frames:
                raise DataError("clip is listed but was not found", file=path, clip=clip_id, wanted="ids of the source")
            if clip_id in taken:
                problem = f"clip is listed twice ({taken[clip_id]}, {split})"
                raise DataError(problem, file=path, clip=clip_id, wanted="every clip in one split")
            taken[clip_id] = split
            splits[split].append(clip_id)
        if not any(frames[clip_id] for clip_id in splits[split]):
            raise DataError(f"split {split} is empty", file=path, wanted="at least one clip that holds a frame")
    return splits


def _plan_shards(
    split: str, clips: Sequence[tuple[int, Clip]], drive_of: Mapping[str, str], options: PrepareOptions
) -> list[ShardPlan]:
    spans = [(drive_of.get(clip.clip_id, ""), span) for number, clip in clips
             for span in _cut(number, clip, options.frames_per_sample)]  # fmt: skip
    groups = fill_shards(spans, options)
    return [ShardPlan(f"{split}-{number:06d}.tar", split, tuple(group)) for number, group in enumerate(groups)]


def fill_shards(samples: Sequence[tuple[str, _Item]], options: PrepareOptions) -> list[list[_Item]]:
    """Return the samples of each shard, in their order; with ``options.whole_drives`` no drive is in two of them.

    Args:
        samples: drive and sample.
        options: samples per shard, and whether shards end with drives.
    """
    step = options.samples_per_shard
    if not options.whole_drives:
        return [[one for _, one in samples[start : start + step]] for start in range(0, len(samples), step)]
    drives: dict[str, list[_Item]] = defaultdict(list)
    for drive, one in samples:
        drives[drive].append(one)
    shards: list[list[_Item]] = []
    for mine in drives.values():
        if not shards or len(shards[-1]) + len(mine) > step:
            shards.append([])
        shards[-1] += mine
    return shards


def _cut(number: int, clip: Clip, longest: int) -> list[FrameSpan]:
    """Cut a clip into as few samples as possible, of nearly equal length, so that none has a single frame."""
    count = -(-len(clip) // longest)
    bounds = [len(clip) * part // count for part in range(count + 1)] if count else []
    pairs = zip(bounds[:-1], bounds[1:], strict=True)
    return [FrameSpan(number, f"{clip.clip_id}_{start:06d}", start, stop) for start, stop in pairs]


def _fingerprint(clips: Sequence[Clip], options: PrepareOptions) -> str:
    content = {key: value for key, value in options.content().items() if key != "split_lists"}
    content["lists"] = [read_list(path) for path in options.split_lists]
    content["clips"] = [(clip.clip_id, clip.format, clip.sensor.fingerprint(), clip.frame_ids) for clip in clips]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
