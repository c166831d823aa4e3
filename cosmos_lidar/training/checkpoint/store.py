"""Sharded checkpoints, written in the background and whole or not at all (``torch.distributed.checkpoint``).

``iter_000000010/`` holds every tensor in ``.distcp`` files, the rest of the state in ``state.pt``, texts such as the
configuration, and the manifest. ``newest_checkpoint.json`` beside it names the newest one.
"""

from __future__ import annotations

import io
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.tensor import DTensor

from cosmos_lidar.errors import DataError
from cosmos_lidar.files import flush_to_disk
from cosmos_lidar.log import logger
from cosmos_lidar.training.checkpoint.line import GoodOnes, Written, write_pointer, written_in
from cosmos_lidar.training.checkpoint.manifest import (
    checkpoint_path,
    new_aside,
    put_aside,
    put_back,
    remove,
    run_of,
    write_manifest,
)
from cosmos_lidar.training.checkpoint.reading import STATE, in_words


@dataclass(frozen=True)
class SaveOutcome:
    """How a save in the background ended, the same on all ranks.

    Attributes:
        step: of the checkpoint.
        path: of the checkpoint; None when it could not be written.
        error: message of the failure; None without one.
        seconds: from the call to the end.
        bytes: on disk.
    """

    step: int
    path: Path | None
    error: str | None
    seconds: float
    bytes: int


class CheckpointStore:
    """Writes the checkpoints of a run; every rank makes one, and calls :meth:`save` together.

    Old ones are deleted in the order in which this run wrote them. Checkpoints of other runs, and those whose manifest
    cannot be read, are left alone; they and damaged ones do not count among those to keep. Nothing is deleted before
    ``keep_last`` good ones were written after it.

    Args:
        folder: the run's ``checkpoints`` folder, on a file system that all ranks share.
        keep_last: how many of the newest stay; 0 for all.
        keep_best: how many stay beside these, by ``best_metric``.
        best_metric: a name in the metrics given to :meth:`save`.
        best_is_low: a low value is good.
        run: name of the line of checkpoints, see :func:`~cosmos_lidar.training.checkpoint.manifest.new_run`.
        may_write: called on rank 0 before anything is written or deleted; raises where the folder is no longer ours.

    Attributes:
        stall_s: how long the last :meth:`save` kept the training waiting.
    """

    def __init__(
        self,
        folder: Path,
        keep_last: int = 3,
        keep_best: int = 0,
        best_metric: str = "",
        best_is_low: bool = True,
        run: str = "",
        may_write: Callable[[], None] | None = None,
    ) -> None:
        self.folder, self.keep_last, self.keep_best = folder, keep_last, keep_best
        self.best_metric, self.best_is_low = best_metric, best_is_low
        self.run, self.may_write, self.good = run, may_write or (lambda: None), GoodOnes()
        self.stall_s = 0.0
        self._told: set[str] = set()
        self._group: dist.ProcessGroup | None = None
        self._thread: threading.Thread | None = None
        self._outcome: SaveOutcome | None = None

    def save(
        self,
        step: int,
        tensors: dict[str, Tensor],
        state: dict[str, object],
        texts: dict[str, str],
        metrics: dict[str, float],
    ) -> None:
        """Copy everything and begin to write it; training may change the tensors at once.

        Waits for a save that is still under way; ask for its outcome first (:meth:`wait`).

        Args:
            step: steps that this state has seen.
            tensors: by name; plain ones are taken to be the same on all ranks.
            state: a plain tree (:mod:`cosmos_lidar.training.checkpoint.state_tree`); that of rank 0 is stored.
            texts: further files by name; those of rank 0 are stored.
            metrics: stored in the manifest.
        """
        started = time.perf_counter()
        if self._thread is not None:
            self._thread.join()
        if dist.is_initialized() and self._group is None:  # of its own: the others are busy with training
            self._group = dist.new_group(backend="gloo")
        staged = {name: _copy(tensor) for name, tensor in tensors.items()}
        stream = io.BytesIO()
        torch.save(state, stream)
        parts = {STATE: stream.getvalue(), **{name: text.encode() for name, text in texts.items()}}
        work = (step, staged, parts, dict(metrics), started)
        self._thread = threading.Thread(target=self._write, args=work, name="checkpoint")
        self._thread.start()
        self.stall_s = time.perf_counter() - started

    def poll(self) -> SaveOutcome | None:
        """Return how the last save ended, once; None while it is under way or was reported."""
        if self._thread is None or self._thread.is_alive():
            return None
        self._thread = None
        outcome, self._outcome = self._outcome, None
        return outcome

    def wait(self) -> SaveOutcome | None:
        """Wait for the save under way and return how it ended."""
        if self._thread is not None:
            self._thread.join()
        return self.poll()

    def _write(
        self, step: int, staged: dict[str, Any], parts: dict[str, bytes], metrics: dict[str, float], started: float
    ) -> None:
        """In the background, on every rank: write the part of this rank; rank 0 finishes the folder."""
        part = self.folder / f".iter_{step:09d}.part"
        size, error = 0, None
        try:
            self._together(lambda: self._make_room(part))
            writer = dcp.FileSystemWriter(part, sync_files=True)
            dcp.save(staged, storage_writer=writer, process_group=self._group, no_dist=self._group is None)
            size = self._together(lambda: self._finish(part, step, parts, metrics))
        # training continues, the outcome holds it; what torch collects of several ranks is no Exception
        except (Exception, dcp.CheckpointException) as problem:
            error = in_words(problem)
            if self._is_first():
                shutil.rmtree(part, ignore_errors=True)
        path = None if error else checkpoint_path(self.folder, step)
        self._outcome = SaveOutcome(step, path, error, time.perf_counter() - started, size or 0)

    def _is_first(self) -> bool:
        return self._group is None or dist.get_rank() == 0

    def _together(self, work: Any) -> Any:
        """Do ``work`` on rank 0; all wait for it, get its result, and raise its error."""
        answer: list[Any] = [None, None]
        if self._is_first():
            try:
                answer[0] = work()
            except Exception as error:
                answer[1] = in_words(error)
        if self._group is not None:
            dist.broadcast_object_list(answer, src=0, group=self._group)
        if answer[1] is not None:
            raise OSError(answer[1])
        return answer[0]

    def _make_room(self, part: Path) -> None:
        self.may_write()
        self.folder.mkdir(parents=True, exist_ok=True)
        # folders alone: exports of the same step may be written beside them at this moment
        stale = (*self.folder.glob(".iter_*.part"), *self.folder.glob(".iter_*.gone"))
        for folder in (path for path in stale if path.is_dir()):
            shutil.rmtree(folder)
        part.mkdir()

    def _finish(self, part: Path, step: int, parts: dict[str, bytes], metrics: dict[str, float]) -> int:
        """Add the small files and the manifest, then let the folder appear under its name; returns its size."""
        self.may_write()
        for name, content in parts.items():
            (part / name).write_bytes(content)
        before = written_in(self.folder, logger.debug)
        order = 1 + max((one.order for one in before if one.is_of(self.run)), default=0)
        write_manifest(part, step, dist.get_world_size() if self._group else 1, metrics, self.run, order)
        size = sum(file.stat().st_size for file in part.rglob("*") if file.is_file())
        path = checkpoint_path(self.folder, step)
        old = self._make_way(path)
        try:
            part.rename(path)
        except OSError:
            put_back(self.folder)
            raise
        flush_to_disk(self.folder)
        write_pointer(path, step, self.run)
        self.good.add(path)
        try:
            if old is not None:
                remove(old)
            self._prune()
        except OSError as error:  # the new one is there all the same
            logger.warning("an old checkpoint could not be deleted: %s", error)
        return size

    def _make_way(self, path: Path) -> Path | None:
        """Free the name of a new checkpoint; returns where one of this run, to be deleted, went."""
        if not path.exists():
            return None
        try:
            if run_of(path) in (self.run, ""):
                return put_aside(path)
        except DataError:  # damaged: not known to be of this run
            pass
        target = new_aside(self.folder.parent)
        path.rename(target / path.name)
        logger.warning("%s was not of this run, or damaged: it is now in %s", path, target)
        return None

    def _prune(self) -> None:
        if not self.keep_last:
            return
        own = [one for one in written_in(self.folder, self._tell_once) if one.is_of(self.run)]
        last = list(self.good.first(own, self.keep_last))
        if len(last) < self.keep_last:
            return
        best = set(self.good.first(self._best(own), self.keep_best))
        oldest_kept = [one.path for one in own].index(last[-1])
        for one in own[oldest_kept + 1 :]:
            if one.path not in best:
                remove(one.path)

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            logger.warning(text)
            self._told.add(text)

    def _best(self, own: list[Written]) -> list[Written]:
        """Return the checkpoints that have a value of the metric, best first."""
        values = [(value, one) for one in own if (value := one.metrics.get(self.best_metric)) is not None]
        return [one for _, one in sorted(values, key=lambda pair: pair[0], reverse=not self.best_is_low)]


def _copy(tensor: Tensor) -> Tensor:
    """Return a copy on the CPU that shares nothing with the tensor; of a sharded one, of the part that is here."""
    own = tensor.detach()
    if not isinstance(own, DTensor):
        return own.to("cpu", copy=True)
    local = own.to_local().to("cpu", copy=True)
    # from_local would move it back to the device of the mesh
    return DTensor(local, own._spec, requires_grad=False)
