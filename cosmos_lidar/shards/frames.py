"""Writer of Energon shards with one frame per sample, for any sample format; resumable after any interruption."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.errors import problem_of
from cosmos_lidar.files import parse_json, read_text, remove_partial
from cosmos_lidar.folder_lock import alone_in
from cosmos_lidar.log import logger
from cosmos_lidar.progress import Meter
from cosmos_lidar.shards.files import Journal, ShardRecord, claim_folder, drop_changed, write_tar, write_text
from cosmos_lidar.shards.journaled import shard_list
from cosmos_lidar.shards.manifest import index_with_energon
from cosmos_lidar.shards.plan import Plan, PrepareOptions, drives_of, fill_shards, make_plan
from cosmos_lidar.shards.sweeps import BadFrame, PackedRun

META = "meta.json"


@dataclass(frozen=True)
class FrameFormat:
    """What the samples of a folder hold, and what they are made of.

    Attributes:
        pack: (clip, frame number, mirrored) -> part name -> content; ``meta.json`` is added.
        state: (clip, frame number) -> text that changes with the files and places that ``pack`` reads.
        sample_type: which of the cookers reads the samples.
        document: name of the file that describes the shards.
        settings: what goes into it, besides splits and skipped frames; with other settings, other samples are made.
        inputs: name -> hash of what samples are made of besides recordings, such as weights; goes into it, too.
        every: take every n-th frame.
        mirror: write training frames a second time, mirrored.
    """

    pack: Callable[[Clip, int, bool], Mapping[str, bytes]]
    state: Callable[[Clip, int], str]
    sample_type: str
    document: str
    settings: Mapping[str, object]
    inputs: Mapping[str, str] = field(default_factory=dict)
    every: int = 1
    mirror: bool = False

    def mirrored(self, split: str) -> tuple[bool, ...]:
        """Return the ways in which the frames of a split are written."""
        return (False, True) if self.mirror and split == "train" else (False,)


@dataclass(frozen=True)
class _Shard:
    """A tar to be written: which frames of which clips, each in one way or in two."""

    name: str
    split: str
    frames: tuple[tuple[Clip, int], ...]
    ways: tuple[bool, ...]


def write_frames(clips: Sequence[Clip], format: FrameFormat, folder: Path, options: PrepareOptions) -> dict[str, int]:
    """Write the frames of clips into shards, each clip in one split; returns samples per split.

    After a signal or a full disk, the same call resumes with the first unfinished shard; in a finished folder it writes
    the shards again that were damaged, or whose recordings or inputs have changed. Frames that cannot be packed are
    skipped and listed in the document; they end the run when they are more than ``options.bad_budget``.

    Args:
        clips: drives.
        format: of the samples.
        folder: where to; empty or absent, or one in which the same call was made.
        options: shares of the splits, samples per shard, seed, budget.

    Raises:
        DataError: the folder holds something else, the disk is full, or too many frames cannot be packed.
        UserError: fewer clips than splits, or another run at work in the folder.
    """
    plan = make_plan(clips, options)
    journal_name = f"{Path(format.document).stem}.journal.jsonl"
    claim_folder(folder, begun=(folder / journal_name).exists())
    with alone_in(folder):
        journal = Journal(folder / journal_name, _fingerprint(plan, format))
        return _write_folder(folder, journal, list(_plan_shards(clips, plan, format, options)), plan, format, options)


def _write_folder(
    folder: Path, journal: Journal, shards: list[_Shard], plan: Plan, format: FrameFormat, options: PrepareOptions
) -> dict[str, int]:
    remove_partial(folder)
    states = {shard.name: _state_of(shard, format) for shard in shards}
    drop_changed(folder, journal, states, format.document)
    if (folder / format.document).is_file():
        logger.info("%s is complete: nothing to do", folder)
        return dict(parse_json(read_text(folder / format.document))["samples"])
    missing = [shard for shard in shards if shard.name not in journal.finished]
    budget = options.bad_budget * sum(len(shard.frames) for shard in shards)
    with Meter("encode", "frames", sum(len(shard.frames) for shard in missing)) as meter:
        for shard in missing:
            allowed = budget - sum(len(record.bad_frames) for record in journal.finished.values())
            journal.add(_write_shard(folder, shard, format, states[shard.name], allowed, meter))
    records = [journal.finished[shard.name] for shard in shards]
    names = [record.name for record in records if record.samples]
    index_with_energon(folder, names, sample_type=format.sample_type)
    counts = {split: sum(record.samples for record in records if record.split == split) for split in plan.splits}
    left_out = [asdict(bad) for record in records for bad in record.bad_frames]
    written = shard_list([record for record in records if record.samples])
    results = {"samples": counts, "left_out": left_out, "clips": plan.splits, "shards": written}
    write_text(folder / format.document, json.dumps({**format.settings, **format.inputs, **results}, indent=1) + "\n")
    return counts


def _fingerprint(plan: Plan, format: FrameFormat) -> str:
    content = [
        plan.fingerprint,
        format.sample_type,
        format.settings,
        sorted(format.inputs),
        format.every,
        format.mirror,
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _plan_shards(clips: Sequence[Clip], plan: Plan, format: FrameFormat, options: PrepareOptions) -> Iterator[_Shard]:
    by_id = {clip.clip_id: clip for clip in clips}
    drive_of = drives_of({clip.clip_id: len(clip) for clip in clips}, options)
    for split, names in plan.splits.items():
        ways = format.mirrored(split)
        frames = [(drive_of.get(name, ""), (by_id[name], index))
                  for name in names for index in range(0, len(by_id[name]), format.every)]  # fmt: skip
        step = max(options.samples_per_shard // len(ways), 1)
        for number, some in enumerate(fill_shards(frames, replace(options, samples_per_shard=step))):
            yield _Shard(f"{split}-{number:06d}.tar", split, tuple(some), ways)


def _state_of(shard: _Shard, format: FrameFormat) -> str:
    content = [*sorted(format.inputs.items()), *(format.state(clip, index) for clip, index in shard.frames)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _write_shard(
    folder: Path, shard: _Shard, format: FrameFormat, state: str, allowed: float, meter: Meter
) -> ShardRecord:
    """Write a tar, or none where no frame can be packed.

    Raises:
        DataError: more frames than allowed cannot be packed.
    """
    bad: list[BadFrame] = []
    samples: list[PackedRun] = []
    frames: dict[str, int] = {}
    for clip, index in shard.frames:
        try:
            samples += [_pack(format, clip, index, way) for way in shard.ways]
        except Exception as error:  # one odd frame ends no work on the others
            problem = problem_of(error)
            logger.warning("skipped frame %s of clip %s: %s", clip.frame_ids[index], clip.clip_id, problem)
            bad.append(BadFrame(clip.clip_id, clip.frame_ids[index], problem))
            if len(bad) > allowed:
                raise
        else:
            frames[clip.clip_id] = frames.get(clip.clip_id, 0) + 1
        meter.advance(1)
    size, digest = write_tar(folder / shard.name, samples) if samples else (0, "")
    return ShardRecord(
        shard.name, shard.split, size, digest, len(samples), sum(frames.values()), frames, bad_frames=bad, sources=state
    )


def _pack(format: FrameFormat, clip: Clip, index: int, mirrored: bool) -> PackedRun:
    parts = format.pack(clip, index, mirrored)
    meta = {"clip_id": clip.clip_id, "frame_id": clip.frame_ids[index], "mirrored": mirrored}
    key = f"{clip.clip_id}_{index:06d}" + ("_mirrored" if mirrored else "")
    return PackedRun(key, {**parts, META: json.dumps(meta).encode()}, 1, 0)
