"""Resumable writer of Energon shards from independent items, one sample each: videos, clips of several cameras.

Finished shards are in a journal; after an interruption the same call resumes with the first unfinished one. Items that
cannot be packed are skipped, listed in ``report.json``, and end the run when they are more than the budget.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

from cosmos_lidar.clips.source_state import files_state
from cosmos_lidar.errors import DataError, UserError, problem_of
from cosmos_lidar.files import remove_partial
from cosmos_lidar.folder_lock import alone_in
from cosmos_lidar.log import logger
from cosmos_lidar.progress import Meter
from cosmos_lidar.shards.files import Journal, ShardRecord, claim_folder, drop_changed, write_tar, write_text
from cosmos_lidar.shards.manifest import index_with_energon
from cosmos_lidar.shards.plan import PrepareOptions, fill_shards
from cosmos_lidar.shards.sweeps import BadFrame, PackedRun
from cosmos_lidar.workers import end_with_parent

REPORT = "report.json"


@dataclass(frozen=True)
class Item:
    """One sample to be written.

    Attributes:
        key: of the sample; no dots, as those begin the name of a part.
        path: of the file or recording, for messages.
        pack: reads the item and returns the sample; one without parts is left out.
        files: that it is made of: changed ones are written again.
        state: of what it is made of, beside the files.
    """

    key: str
    path: Path
    pack: Callable[[], PackedRun]
    files: tuple[Path, ...] = ()
    state: str = ""


@dataclass(frozen=True)
class Kind:
    """What the items are.

    Attributes:
        one: what messages call one of them, such as ``video``.
        sample_type: which loader reads the samples.
        journal: name of the journal.
        document: name of the file that marks a finished folder.
    """

    one: str
    sample_type: str
    journal: str
    document: str


_work: tuple[Path, Mapping[str, Sequence[Item]], Kind] | None = (
    None  # inherited by forked workers: readers do not pickle
)


def write_journaled(
    plan: Mapping[str, Sequence[Item]], folder: Path, kind: Kind, fingerprint: str, bad_budget: float, jobs: int = 1
) -> list[ShardRecord]:
    """Write items as shards and index them for Energon.

    Args:
        plan: name of each shard, ``SPLIT-NUMBER.tar`` -> its items.
        folder: output; empty or absent, or one in which the same call was interrupted.
        kind: what the items are.
        fingerprint: of the plan: a folder with shards of another one is refused.
        bad_budget: largest tolerated share of items that cannot be used.
        jobs: processes; the files do not depend on their number.

    Returns:
        The shards that have samples, in the order of the plan. The caller writes ``kind.document``.

    Raises:
        DataError: the folder holds something else, the disk is full, or too many items cannot be used.
        UserError: another run is at work in the folder, or a worker process was ended from outside.
    """
    claim_folder(folder, begun=(folder / kind.journal).exists())
    with alone_in(folder):
        return _write_folder(plan, folder, kind, fingerprint, bad_budget, jobs)


def _write_folder(
    plan: Mapping[str, Sequence[Item]], folder: Path, kind: Kind, fingerprint: str, bad_budget: float, jobs: int
) -> list[ShardRecord]:
    journal, total = Journal(folder / kind.journal, fingerprint), sum(map(len, plan.values()))
    remove_partial(folder)
    states = {name: _state_of(items) for name, items in plan.items()}
    drop_changed(folder, journal, states, kind.document)
    missing = {name: items for name, items in plan.items() if name not in journal.finished}
    with Meter("prepare", f"{kind.one}s", total) as meter:
        meter.advance(total - sum(map(len, missing.values())))
        _keep_to_budget(journal, bad_budget * total, folder, kind)
        for record in _write_all(missing, folder, kind, min(jobs, len(missing))):
            journal.add(replace(record, sources=states[record.name]))
            meter.advance(len(plan[record.name]))
            _keep_to_budget(journal, bad_budget * total, folder, kind)
    finished = [journal.finished[name] for name in plan]
    records = [record for record in finished if record.samples]
    _write_report(folder, finished, kind)
    if not records:
        raise DataError(
            f"no {kind.one} of the source can be used", file=folder / REPORT, wanted=f"readable {kind.one}s"
        )
    index_with_energon(folder, [record.name for record in records], sample_type=kind.sample_type)
    return records


def _state_of(items: Sequence[Item]) -> str:
    files = files_state(file for item in items for file in item.files)
    others = "".join(item.state for item in items)
    return hashlib.sha256(f"{files} {others}".encode()).hexdigest()[:16] if others else files


def _write_all(plan: Mapping[str, Sequence[Item]], folder: Path, kind: Kind, jobs: int) -> Iterator[ShardRecord]:
    if jobs <= 1:
        yield from (_write_shard(folder / name, items, kind) for name, items in plan.items())
        return
    global _work
    _work = folder, plan, kind
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("fork"), initializer=end_with_parent)
    try:
        for done in as_completed([pool.submit(_write_shard_here, name) for name in plan]):
            yield done.result()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was ended from outside, perhaps for lack of memory: use fewer --jobs and run the same "
            "command again; finished shards are kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
        _work = None


def _write_shard_here(name: str) -> ShardRecord:
    assert _work is not None  # set before the fork
    folder, plan, kind = _work
    return _write_shard(folder / name, plan[name], kind)


def _write_shard(path: Path, items: Sequence[Item], kind: Kind) -> ShardRecord:
    bad: list[BadFrame] = []
    ready = []  # a shard is small enough to know its content before its file is opened
    for item in items:
        try:
            sample = item.pack()
            if sample.parts:
                ready.append(sample)
        except Exception as error:  # one odd item ends no work on the others
            logger.warning("skipped %s %s: %s", kind.one, item.path, problem_of(error))
            bad.append(BadFrame(item.key, "", problem_of(error)))
    size, digest = write_tar(path, ready) if ready else (0, "")
    split, frames = path.name.rpartition("-")[0], {sample.key: sample.frames for sample in ready}
    return ShardRecord(path.name, split, size, digest, len(ready), sum(frames.values()), frames, bad_frames=bad)


def _keep_to_budget(journal: Journal, allowed: float, folder: Path, kind: Kind) -> None:
    bad = [bad for record in journal.finished.values() for bad in record.bad_frames]
    if len(bad) > allowed:
        _write_report(folder, list(journal.finished.values()), kind)
        wanted = "at most --bad-budget of them; see report.json"
        raise DataError(
            f"{len(bad)} {kind.one}s cannot be used; the last: {bad[-1].problem}", file=folder, wanted=wanted
        )


def _write_report(folder: Path, records: Sequence[ShardRecord], kind: Kind) -> None:
    left_out = [{kind.one: bad.clip, "problem": bad.problem} for record in records for bad in record.bad_frames]
    write_text(folder / REPORT, json.dumps({"left_out": left_out}, indent=1) + "\n")


def shard_plan(splits: Mapping[str, Sequence[tuple[str, Item]]], options: PrepareOptions) -> dict[str, list[Item]]:
    """Return name of each shard -> its items, for the items of each split, each with its drive."""
    return {
        f"{split}-{number:06d}.tar": mine
        for split, items in splits.items()
        for number, mine in enumerate(fill_shards(items, options))
    }


def shard_list(records: Sequence[ShardRecord]) -> list[dict[str, object]]:
    """Return the shards as the document of a folder lists them."""
    names = ("name", "bytes", "sha256", "samples", "frames")
    return [{name: getattr(record, name) for name in names} for record in records]
