"""Plan of a dataset, made before anything is read: clips into splits, frames into samples, samples into shards."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.range_codec import MAX_STEPS
from cosmos_lidar.errors import DataError, UserError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class PrepareOptions:
    """Options that determine the content of shards: the same options and clips give the same bytes.

    Attributes:
        split: fractions of the clips for train, val and test.
        split_lists: files of clip ids, one per split in the same order; replaces ``split``.
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
    """

    shards: tuple[ShardPlan, ...]
    splits: dict[str, list[str]]
    fingerprint: str

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
    shards = [
        shard
        for split, clip_ids in splits.items()
        for shard in _plan_shards(split, [(numbers[clip_id], clips[numbers[clip_id]]) for clip_id in clip_ids], options)
    ]
    return Plan(tuple(shards), splits, _fingerprint(clips, options))


def split_clips(clips: Sequence[Clip], options: PrepareOptions) -> dict[str, list[str]]:
    """Return the clip ids of each split: as listed, else whole drives by share; raises as :func:`make_plan`."""
    _check_options(options)
    _check_clips(clips)
    return split_ids({clip.clip_id: len(clip) for clip in clips}, options)


def split_ids(frames: Mapping[str, int], options: PrepareOptions) -> dict[str, list[str]]:
    """Return the clip ids of each split: as listed, else whole drives by share.

    Args:
        frames: clip id -> its frames; clips without any belong to no drive.
        options: shares or lists, pattern of the drives, seed.

    Raises:
        DataError: a list that names clips that are not there, or a pattern that is not found.
        UserError: options that make no sense, or fewer drives than splits.
    """
    _check_options(options)
    return _listed_splits(frames, options) if options.split_lists else _dealt_splits(frames, options)


def _check_options(options: PrepareOptions) -> None:
    if options.frames_per_sample < 1 or options.samples_per_shard < 1:
        raise UserError("--frames-per-sample and --samples-per-shard must be at least 1")
    if not 0 <= options.bad_budget <= 1:
        raise UserError(f"--bad-budget {options.bad_budget}: must lie between 0 and 1 (0.001: one frame in a thousand)")
    if len(options.split) > len(SPLITS) or any(share < 0 for share in options.split) or sum(options.split) <= 0:
        raise UserError(f"--split {options.split}: up to three shares ({', '.join(SPLITS)}), none negative, not all 0")
    if len(options.split_lists) > len(SPLITS):
        raise UserError(f"--split-list: up to three files, for {', '.join(SPLITS)}")


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


def _listed_splits(frames: Mapping[str, int], options: PrepareOptions) -> dict[str, list[str]]:
    taken: dict[str, str] = {}
    splits: dict[str, list[str]] = {}
    for split, path in zip(SPLITS, options.split_lists, strict=False):
        splits[split] = []
        for clip_id in _read_list(path):
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


def _read_list(path: Path) -> list[str]:
    """Return the clip ids of a list file: one per line, without what follows the first dot, empty lines ignored."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"split list cannot be read: {error}", file=path, wanted="a text file of clip ids") from error
    return [line.strip().split(".")[0] for line in text.splitlines() if line.strip()]


def _plan_shards(split: str, clips: Sequence[tuple[int, Clip]], options: PrepareOptions) -> list[ShardPlan]:
    runs = [run for number, clip in clips for run in _cut(number, clip, options.frames_per_sample)]
    step = options.samples_per_shard
    groups = [tuple(runs[start : start + step]) for start in range(0, len(runs), step)]
    return [ShardPlan(f"{split}-{number:06d}.tar", split, group) for number, group in enumerate(groups)]


def _cut(number: int, clip: Clip, longest: int) -> list[FrameSpan]:
    """Cut a clip into as few samples as possible, of nearly equal length, so that none has a single frame."""
    count = -(-len(clip) // longest)
    bounds = [len(clip) * part // count for part in range(count + 1)] if count else []
    pairs = zip(bounds[:-1], bounds[1:], strict=True)
    return [FrameSpan(number, f"{clip.clip_id}_{start:06d}", start, stop) for start, stop in pairs]


def _fingerprint(clips: Sequence[Clip], options: PrepareOptions) -> str:
    content = {key: value for key, value in asdict(options).items() if key not in ("bad_budget", "split_lists")}
    content["lists"] = [_read_list(path) for path in options.split_lists]
    content["clips"] = [(clip.clip_id, clip.format, clip.sensor.fingerprint(), clip.frame_ids) for clip in clips]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
