"""Conversion of clips from any reader to any writer: parallel over clips, resumable, with a report of what was lost."""

from __future__ import annotations

import hashlib
import importlib
import multiprocessing
import pkgutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from cosmos_lidar.clips import writers
from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.conversion_journal import JOURNAL, ConversionJournal, FinishedClip, make_folder
from cosmos_lidar.clips.source_state import recording_state
from cosmos_lidar.clips.writers._contract import VALUES, WriteOptions
from cosmos_lidar.clips.writers._staged import remove_leftovers
from cosmos_lidar.errors import DataError, UserError, nearest, problem_of
from cosmos_lidar.extras import require_installed
from cosmos_lidar.files import write_json
from cosmos_lidar.folder_lock import alone_in
from cosmos_lidar.log import logger
from cosmos_lidar.progress import Meter
from cosmos_lidar.workers import end_with_parent, interrupt_deferred

REPORT = "report.json"


def find_writers() -> dict[str, ModuleType]:
    """Return the writer modules by the name that ``--to`` takes."""
    names = sorted(info.name for info in pkgutil.iter_modules(writers.__path__) if not info.name.startswith("_"))
    return {name: importlib.import_module(f"cosmos_lidar.clips.writers.{name}") for name in names}


def find_writer(name: str) -> ModuleType:
    """Return a writer module.

    Raises:
        UserError: no such writer; the message lists them, and the nearest.
    """
    known = find_writers()
    if name not in known:
        raise UserError(f"no layout {name!r}: did you mean {nearest(name, known)}? Known are {', '.join(known)}")
    return known[name]


@dataclass
class Conversion:
    """Outcome of a conversion.

    Attributes:
        written: by clip id, in the order of the clips; those that were there already, too.
        skipped: ids of those that were there already, in the order of the clips.
        errors: clip id or file -> problem.
    """

    written: dict[str, FinishedClip] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def lost(self) -> dict[str, dict[str, Any]]:
        """Value -> what of it the layout does not hold, by the text and the clips it is true of."""
        found: dict[str, dict[str, Any]] = {}
        for value in VALUES:
            texts: dict[str, list[str]] = {}
            for one in self.written.values():
                if value in one.lost:
                    texts.setdefault(one.lost[value], []).append(one.clip)
            if texts:
                found[value] = {text: {"clips": len(clips), "first": clips[0]} for text, clips in texts.items()}
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the content of the report."""
        clips = {one.clip: {"frames": one.frames, "bytes": sum(one.files.values())} for one in self.written.values()}
        return {
            "clips": clips,
            "frames": sum(one["frames"] for one in clips.values()),
            "bytes": sum(one["bytes"] for one in clips.values()),
            "already_there": list(self.skipped),
            "not_representable": self.lost,
            "errors": self.errors,
        }


@dataclass(frozen=True)
class _Outcome:
    """What came of one clip: one of both."""

    number: int
    finished: FinishedClip | None
    problem: str | None = None


class _StopError(Exception):
    """The conversion was interrupted; raised by the progress of a writer."""


@dataclass(frozen=True)
class _Work:
    """Inputs for writing any clip."""

    clips: Sequence[Clip]
    states: Sequence[str]
    folder: Path
    writer: ModuleType
    options: WriteOptions
    frames: Any  # shared count of frames
    stop: Any  # shared event

    def write(self, number: int, meter: Meter | None = None) -> _Outcome:
        """Write a clip; errors become its problem, so that they end no work on other clips."""
        clip = self.clips[number]

        def progress(count: int) -> None:
            if self.stop.is_set():
                raise _StopError
            with self.frames.get_lock():
                self.frames.value += count
            if meter is not None:
                meter.advance(count)

        try:
            written = self.writer.write_clip(clip, self.folder, self.options, progress)
        except _StopError:
            return _Outcome(number, None, "interrupted")
        except Exception as error:
            return _Outcome(number, None, problem_of(error))
        sizes = {name: (self.folder / name).stat().st_size for name in written.files}
        return _Outcome(
            number, FinishedClip(clip.clip_id, self.states[number], written.frames, sizes, dict(written.lost))
        )


_work: _Work | None = None  # inherited by forked workers: clips may hold readers that cannot be pickled


def convert_clips(
    clips: Sequence[Clip],
    folder: Path,
    to: str,
    options: WriteOptions | None = None,
    workers: int = 1,
    resume: bool = False,
    errors: dict[str, str] | None = None,
) -> Conversion:
    """Write clips in a layout; clips that are there already, made of the same files and options, are skipped.

    A clip that cannot be read or written is reported and ends no work on the others. After any interruption the same
    call writes what is missing. ``folder/report.json`` has the outcome.

    Args:
        clips: what to write; ids are unique.
        folder: output; empty or absent, or one of an earlier call with the same layout.
        to: name of the writer.
        options: of the writer.
        workers: processes.
        resume: require an earlier call there.
        errors: clips that could not be opened, for the report.

    Raises:
        DataError: the folder holds something else, or cannot be written.
        UserError: no such writer, an extra that is not installed, ``resume`` without an earlier call, or another
            conversion at work in the folder.
    """
    writer, options, folder = find_writer(to), options or WriteOptions(), Path(folder)
    require_installed(getattr(writer, "NEEDS", ()), f"the layout {to}")
    if resume and not (folder / JOURNAL).is_file():
        raise UserError(f"--resume: nothing was converted to {folder}")
    twice = [clip_id for clip_id, count in Counter(clip.clip_id for clip in clips).items() if count > 1]
    if twice:
        raise DataError("two clips have this id", clip=twice[0], wanted="unique clip ids")
    make_folder(folder)
    with alone_in(folder):
        journal = ConversionJournal(folder, to)
        remove_leftovers(folder)
        states = [_state(clip, to, options) for clip in clips]
        found = journal.unchanged(folder, {clip.clip_id: state for clip, state in zip(clips, states, strict=True)})
        there = tuple(clip.clip_id for clip in clips if clip.clip_id in found)
        result = Conversion(dict(found), there, dict(errors or {}))
        context = multiprocessing.get_context("fork")
        work = _Work(clips, states, folder, writer, options, context.Value("q", 0), context.Event())
        try:
            _write_missing(work, journal, result, workers)
        finally:
            in_order = [clip.clip_id for clip in clips if clip.clip_id in result.written]
            result.written = {clip_id: result.written[clip_id] for clip_id in in_order}
            _write_report(folder, to, result)
    return result


def _state(clip: Clip, to: str, options: WriteOptions) -> str:
    return hashlib.sha256(f"{recording_state(clip)} {to} {options}".encode()).hexdigest()[:16]


def frames_of(clip: Clip) -> int:
    """Return the sweeps of the main lidar; of a clip without one the images of its longest camera."""
    return len(clip) if clip.lidars else max(map(len, clip.cameras.values()), default=0)


def _write_missing(work: _Work, journal: ConversionJournal, result: Conversion, workers: int) -> None:
    missing = [number for number, clip in enumerate(work.clips) if clip.clip_id not in result.written]
    if result.written:
        logger.info("%d of %d clips are there already", len(result.written), len(work.clips))
    if not missing:
        return
    if hasattr(work.writer, "begin"):
        work.writer.begin([work.clips[number] for number in missing], work.folder)
    count = getattr(work.writer, "frames", frames_of)
    workers = min(workers, len(missing))
    frames = sum(count(work.clips[number]) for number in missing)
    # the clips that workers finished are recorded before an interruption ends the conversion
    deferred = interrupt_deferred() if workers > 1 else nullcontext(lambda: False)
    with deferred as interrupted, Meter("convert", "frames", frames) as meter:
        for outcome in _write_all(work, missing, workers, meter, interrupted):
            clip_id = work.clips[outcome.number].clip_id
            if outcome.finished is not None:
                journal.add(outcome.finished)
                result.written[clip_id] = outcome.finished
            elif outcome.problem is not None:
                logger.warning("clip %s is left out: %s", clip_id, outcome.problem)
                result.errors[clip_id] = outcome.problem


def _write_all(
    work: _Work, numbers: list[int], workers: int, meter: Meter, interrupted: Callable[[], bool]
) -> Iterator[_Outcome]:
    if workers <= 1:
        for number in numbers:
            yield work.write(number, meter)
        return
    global _work
    _work = work
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork"), initializer=_in_worker)
    waiting: set[Future[_Outcome]] = {pool.submit(_write_here, number) for number in numbers}
    try:
        while waiting:
            if interrupted():
                raise KeyboardInterrupt
            finished, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
            meter.advance(work.frames.value - meter.done)
            yield from (future.result() for future in finished)
    except KeyboardInterrupt:
        work.stop.set()
        pool.shutdown(cancel_futures=True)
        done = [future.result() for future in waiting if not future.cancelled() and future.exception() is None]
        yield from (outcome for outcome in done if outcome.finished is not None)
        raise
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was ended from outside, perhaps for lack of memory: use fewer --workers and run the same "
            "command again; finished clips are kept"
        ) from error
    finally:
        work.stop.set()
        pool.shutdown(cancel_futures=True)
        _work = None


def _in_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops its workers between frames
    end_with_parent()


def _write_here(number: int) -> _Outcome:
    assert _work is not None  # set before the fork
    return _work.write(number)


def _write_report(folder: Path, to: str, result: Conversion) -> None:
    try:
        write_json(folder / REPORT, {"layout": to, **result.to_json()})
    except OSError as error:
        problem = f"cannot be written: {error.strerror or error}"
        raise DataError(problem, file=folder / REPORT, wanted="a writable folder with room") from error
