"""Writer of Energon shards from clips, resumable after any interruption."""

from __future__ import annotations

import hashlib
import itertools
import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.source_state import clip_state
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.extras import require_installed
from cosmos_lidar.files import remove_partial
from cosmos_lidar.folder_lock import alone_in
from cosmos_lidar.log import logger
from cosmos_lidar.progress import Meter
from cosmos_lidar.shards.files import Journal, ShardRecord, claim_folder, drop_changed, write_tar, write_text
from cosmos_lidar.shards.manifest import (
    MANIFEST,
    SENSORS,
    Manifest,
    index_with_energon,
    name_sensors,
    read_manifest,
    write_manifest,
)
from cosmos_lidar.shards.parts import JOURNAL, PARTS, Part, adopt, begun, forget, remove_partial_of
from cosmos_lidar.shards.plan import Plan, PrepareOptions, ShardPlan, make_plan
from cosmos_lidar.shards.sweeps import BadFrame, PackedRun, pack_run
from cosmos_lidar.workers import end_with_parent

REPORT = "report.json"


class _TooManyBadFrames(Exception):
    """More bad frames than the budget allows; ``args[0]`` holds those of unfinished shards."""


class _Counters:
    """Counts of finished and bad frames, shared by all processes."""

    def __init__(self, bad: int, allowed: float) -> None:
        context = multiprocessing.get_context("fork")
        self.frames, self.bad, self.allowed = context.Value("q", 0), context.Value("q", bad), allowed

    def count(self, bad: BadFrame | None) -> bool:
        """Count a frame; returns whether the budget still holds."""
        with self.frames.get_lock():
            self.frames.value += 1
        if bad is not None:
            with self.bad.get_lock():
                self.bad.value += 1
        return self.holds()

    def holds(self) -> bool:
        """Return whether the bad frames are within the budget."""
        return self.bad.value <= self.allowed


@dataclass(frozen=True)
class _Work:
    """Inputs for writing any shard of the plan."""

    clips: Sequence[Clip]
    folder: Path
    sensor_files: dict[str, str]
    counters: _Counters
    states: dict[str, str]


_work: _Work | None = None  # inherited by forked workers: clips hold open readers that cannot be pickled


def prepare_shards(
    clips: Sequence[Clip], folder: Path, options: PrepareOptions | None = None, jobs: int = 1, resume: bool = False
) -> Manifest:
    """Write ``clips`` as Energon shards and index them.

    After a signal or a full disk, the same call resumes with the first unfinished shard; the files are the same, byte
    for byte, as without the interruption.

    Args:
        clips: what to write.
        folder: output; empty or absent, or one in which the same call was interrupted.
        options: splits, lengths, budget for frames that cannot be read.
        jobs: processes.
        resume: require an interrupted call there.

    Returns:
        The content of ``folder/manifest.json``; ``folder/report.json`` lists skipped frames.

    Raises:
        DataError: the folder holds something else, the disk is full, a split is empty, or too many bad frames.
        UserError: impossible options, ``resume`` without an interrupted run, or another run writing to the folder.
    """
    require_installed(("megatron.energon",), "the index of the shards")
    options = options or PrepareOptions()
    plan = make_plan(clips, options)
    _claim_folder(folder, resume)
    with alone_in(folder):
        return _write_folder(clips, folder, options, plan, jobs)


def prepare_part(
    clips: Sequence[Clip], folder: Path, part: Part, options: PrepareOptions | None = None, jobs: int = 1
) -> list[ShardRecord]:
    """Write one part of the shards of :func:`prepare_shards`, beside jobs that write the other parts.

    :func:`prepare_shards` with the same clips and options then merges and indexes them. Interrupted, the same call
    resumes.

    Args:
        clips: all clips, the same in every job.
        folder: output, the same in every job.
        part: which shards.
        options: as of :func:`prepare_shards`.
        jobs: processes.

    Returns:
        The shards of this part.

    Raises:
        DataError: as :func:`prepare_shards`.
        UserError: impossible options, or another job is writing this part.
    """
    options = options or PrepareOptions()
    plan = make_plan(clips, options)
    _claim_folder(folder, resume=False)
    mine = tuple(shard for place, shard in enumerate(plan.shards) if part.holds(place))
    part.folder(folder).mkdir(parents=True, exist_ok=True)
    with alone_in(folder, shared=True), alone_in(part.folder(folder)):
        if (folder / MANIFEST).exists():
            logger.info("%s is complete: nothing to do", folder)
            return []
        states = {shard.name: _state_of(shard, clips) for shard in mine}
        journal = Journal(part.folder(folder) / JOURNAL, plan.fingerprint)
        remove_partial_of(folder, [shard.name for shard in mine])
        drop_changed(folder, journal, states, MANIFEST)
        work = _work_on(clips, folder, journal, options.bad_budget * plan.frames, states)
        _write_missing(replace(plan, shards=mine), journal, work, jobs)
        return [journal.finished[shard.name] for shard in mine]


def _write_folder(clips: Sequence[Clip], folder: Path, options: PrepareOptions, plan: Plan, jobs: int) -> Manifest:
    states = {shard.name: _state_of(shard, clips) for shard in plan.shards}
    journal = Journal(folder / JOURNAL, plan.fingerprint)
    remove_partial(folder)
    adopt(folder, journal, plan.fingerprint)
    drop_changed(folder, journal, states, MANIFEST)
    if (folder / MANIFEST).exists():
        logger.info("%s is complete: nothing to do", folder)
        return read_manifest(folder)
    work = _work_on(clips, folder, journal, options.bad_budget * plan.frames, states)
    _write_missing(plan, journal, work, jobs)
    records = [journal.finished[shard.name] for shard in plan.shards]
    if not work.counters.holds():  # of parts that kept the budget each
        _write_report(folder, records, left_out=plan.left_out)
        raise _budget_error(work, [bad for record in records for bad in record.bad_frames], plan.frames)
    _refuse_empty_splits(plan, records, folder)
    _write_report(folder, records, left_out=plan.left_out)
    manifest = Manifest(
        fingerprint=plan.fingerprint,
        splits=plan.splits,
        sensors=sorted(set(work.sensor_files.values())),
        shards=[record for record in records if record.samples],
        frames_per_sample=max(run.stop - run.start for shard in plan.shards for run in shard.runs),
    )
    index_with_energon(folder, [shard.name for shard in manifest.shards], jobs)
    write_manifest(folder, manifest)
    forget(folder)
    return manifest


def _work_on(clips: Sequence[Clip], folder: Path, journal: Journal, allowed: float, states: dict[str, str]) -> _Work:
    counters = _Counters(sum(len(record.bad_frames) for record in journal.finished.values()), allowed)
    return _Work(clips, folder, _write_sensors(clips, folder), counters, states)


def _claim_folder(folder: Path, resume: bool) -> None:
    started = (folder / JOURNAL).exists()
    if resume and not started and not (folder / PARTS).is_dir():
        raise UserError(f"--resume: no interrupted run in {folder}")
    claim_folder(folder, begun=started or (folder.is_dir() and begun(folder)))


def _state_of(shard: ShardPlan, clips: Sequence[Clip]) -> str:
    parts = [clip_state(clips[run.clip], run.start, run.stop) for run in shard.runs]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def _write_sensors(clips: Sequence[Clip], folder: Path) -> dict[str, str]:
    sensors = {clip.sensor.fingerprint(): clip.sensor for clip in clips}
    files = name_sensors(list(sensors.values()))
    (folder / SENSORS).mkdir(exist_ok=True)
    for fingerprint, file in files.items():
        write_text(folder / file, sensors[fingerprint].to_yaml())
    return files


def _write_missing(plan: Plan, journal: Journal, work: _Work, jobs: int) -> None:
    missing = [shard for shard in plan.shards if shard.name not in journal.finished]
    done = plan.frames - sum(shard.frames for shard in missing)
    if done:
        logger.info("resuming: %d of %d frames are in finished shards", done, plan.frames)
    try:
        with Meter("prepare", "frames", plan.frames - done) as meter:
            for record in _write_all(missing, work, min(jobs, len(missing)), meter):
                journal.add(record)
    except _TooManyBadFrames as error:
        _write_report(work.folder, list(journal.finished.values()), error.args[0])
        raise _budget_error(work, error.args[0], plan.frames) from error


def _write_all(shards: Sequence[ShardPlan], work: _Work, jobs: int, meter: Meter) -> Iterator[ShardRecord]:
    if jobs <= 1:
        for shard in shards:
            yield _ShardWriter(work, meter).write(shard)
        return
    global _work
    _work = work
    context = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=end_with_parent)
    futures = [pool.submit(_write_shard_here, shard) for shard in shards]
    try:
        waiting: set[Future[ShardRecord]] = set(futures)
        while waiting:
            finished, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
            meter.advance(work.counters.frames.value - meter.done)
            yield from (future.result() for future in finished)
    except _TooManyBadFrames as error:
        pool.shutdown(cancel_futures=True)
        stopped = [future.exception() for future in futures if not future.cancelled()]
        raise _TooManyBadFrames(
            [bad for other in stopped if isinstance(other, _TooManyBadFrames) for bad in other.args[0]]
        ) from error
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was ended from outside, perhaps for lack of memory: use fewer --jobs and run the same "
            "command again; finished shards are kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
        _work = None


def _write_shard_here(shard: ShardPlan) -> ShardRecord:
    assert _work is not None  # set before the fork
    return _ShardWriter(_work).write(shard)


class _ShardWriter:
    """Writer of one shard, with its counts."""

    def __init__(self, work: _Work, meter: Meter | None = None) -> None:
        self.work, self.meter = work, meter
        self.bad_frames: list[BadFrame] = []
        self.clips: dict[str, int] = {}
        self.samples = self.beyond_max_range = 0

    def write(self, shard: ShardPlan) -> ShardRecord:
        """Write the tar; no tar where no frame can be read."""
        samples = self._pack(shard)
        first = next(samples, None)
        size, checksum = 0, ""
        if first is not None:
            size, checksum = write_tar(self.work.folder / shard.name, itertools.chain([first], samples))
        return ShardRecord(
            name=shard.name,
            split=shard.split,
            bytes=size,
            sha256=checksum,
            samples=self.samples,
            frames=sum(self.clips.values()),
            clips=self.clips,
            beyond_max_range=self.beyond_max_range,
            bad_frames=self.bad_frames,
            sources=self.work.states[shard.name],
        )

    def _pack(self, shard: ShardPlan) -> Iterator[PackedRun]:
        for run in shard.runs:
            clip = self.work.clips[run.clip]
            sensor_file = self.work.sensor_files[clip.sensor.fingerprint()]
            sample = pack_run(clip, run, sensor_file, self._count)
            if sample.frames:
                self.clips[clip.clip_id] = self.clips.get(clip.clip_id, 0) + sample.frames
                self.samples += 1
                self.beyond_max_range += sample.beyond_max_range
                yield sample

    def _count(self, bad: BadFrame | None) -> None:
        if bad is not None:
            logger.warning("skipped frame %s of clip %s: %s", bad.frame, bad.clip, bad.problem)
            self.bad_frames.append(bad)
        if not self.work.counters.count(bad):
            raise _TooManyBadFrames(self.bad_frames)
        if self.meter is not None:
            self.meter.advance(1)


def _budget_error(work: _Work, bad_frames: Sequence[BadFrame], frames: int) -> DataError:
    last = bad_frames[-1]
    return DataError(
        f"{work.counters.bad.value} of {frames} frames cannot be used; the last was frame {last.frame}: {last.problem}",
        file=work.folder / REPORT,
        clip=last.clip,
        key=last.frame,
        wanted=f"at most {work.counters.allowed:.0f}: fix the recording, or raise --bad-budget; the report lists them",
    )


def _refuse_empty_splits(plan: Plan, records: Sequence[ShardRecord], folder: Path) -> None:
    for split in plan.splits:
        if not any(record.samples for record in records if record.split == split):
            wanted = "at least one frame that can be read in every split"
            raise DataError(f"split {split} is empty: none of its frames could be read", file=folder, wanted=wanted)


def _write_report(
    folder: Path, records: Sequence[ShardRecord], more_bad: Sequence[BadFrame] = (), left_out: Sequence[str] = ()
) -> None:
    bad_frames = [bad for record in records for bad in record.bad_frames] + list(more_bad)
    report = {
        "frames": sum(record.frames for record in records),
        "samples": sum(record.samples for record in records),
        "shards": sum(record.samples > 0 for record in records),
        "bytes": sum(record.bytes for record in records),
        "returns_beyond_max_range": sum(record.beyond_max_range for record in records),
        "bad_frames": [asdict(bad) for bad in bad_frames],
        **({"clips_in_no_list": list(left_out)} if left_out else {}),
    }
    write_text(folder / REPORT, json.dumps(report, indent=1) + "\n")
