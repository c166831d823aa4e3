"""Sharded checkpoints, written in the background and whole or not at all (``torch.distributed.checkpoint``).

``iter_000000010/`` holds every tensor in ``.distcp`` files, the rest of the state in ``state.pt``, texts such as the
configuration, and the manifest. ``latest_checkpoint.txt`` beside it names the newest one.
"""

from __future__ import annotations

import io
import pickle
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.staging import BlockingAsyncStager

from cosmos_lidar.errors import DataError
from cosmos_lidar.training.checkpoint_manifest import (
    checkpoint_path,
    checkpoint_step,
    checkpoints_in,
    read_manifest,
    sync,
    write_manifest,
)
from cosmos_lidar.training.files import read_tensors, write_whole

LATEST = "latest_checkpoint.txt"
STATE = "state.pt"
_METADATA = ".metadata"
_ALLOWED = {
    "torch.distributed.checkpoint.metadata": {
        "Metadata", "TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata", "TensorProperties",
        "MetadataIndex", "StorageMeta", "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.serialization": {"_get_layout"},
    "collections": {"OrderedDict"},
    "pathlib": {"PosixPath"},
    "pathlib._local": {"PosixPath"},
}  # fmt: skip


@dataclass(frozen=True)
class SaveOutcome:
    """How a save in the background ended, the same on all processes.

    Attributes:
        step: of the checkpoint.
        path: of the checkpoint; None when it could not be written.
        error: why not, in words; None when all went well.
        seconds: from the call to the end.
        bytes: on disk.
    """

    step: int
    path: Path | None
    error: str | None
    seconds: float
    bytes: int


class CheckpointStore:
    """Writes the checkpoints of a run; every process makes one, and calls :meth:`save` together.

    Args:
        folder: the run's ``checkpoints`` folder, on a file system that all processes share.
        keep_last: how many of the newest stay; 0 for all.
        keep_best: how many stay beside these, by ``best_metric``.
        best_metric: a name in the metrics given to :meth:`save`.
        best_is_low: a low value is good.

    Attributes:
        stall_s: how long the last :meth:`save` kept the training waiting.
    """

    def __init__(
        self, folder: Path, keep_last: int = 3, keep_best: int = 0, best_metric: str = "", best_is_low: bool = True
    ) -> None:
        self.folder, self.keep_last, self.keep_best = folder, keep_last, keep_best
        self.best_metric, self.best_is_low = best_metric, best_is_low
        self.stall_s = 0.0
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
            tensors: by name; plain ones are taken to be the same on all processes.
            state: a plain tree (:mod:`cosmos_lidar.training.state_tree`); that of process 0 is stored.
            texts: further files by name; those of process 0 are stored.
            metrics: stored in the manifest.
        """
        started = time.perf_counter()
        if self._thread is not None:
            self._thread.join()
        if dist.is_initialized() and self._group is None:  # of its own: the others are busy with training
            self._group = dist.new_group(backend="gloo")
        staged = BlockingAsyncStager().stage(tensors)
        stream = io.BytesIO()
        torch.save(state, stream)
        parts = {STATE: stream.getvalue(), **{name: text.encode() for name, text in texts.items()}}
        work = (step, staged, parts, dict(metrics), started)
        self._thread = threading.Thread(target=self._write, args=work, name="checkpoint")
        self._thread.start()
        self.stall_s = time.perf_counter() - started

    def poll(self) -> SaveOutcome | None:
        """Return how the last save ended, once; None while it is under way or nothing is to be told."""
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
        """In the background, on every process: write the part of this process; process 0 finishes the folder."""
        part = self.folder / f".iter_{step:09d}.part"
        size, error = 0, None
        try:
            self._together(lambda: self._make_room(part))
            writer = dcp.FileSystemWriter(part, sync_files=True)
            dcp.save(staged, storage_writer=writer, process_group=self._group, no_dist=self._group is None)
            size = self._together(lambda: self._finish(part, step, parts, metrics))
        # training goes on, the outcome tells; what torch collects of several processes is no Exception
        except (Exception, dcp.CheckpointException) as problem:
            error = _words(problem)
            if self._is_first():
                shutil.rmtree(part, ignore_errors=True)
        path = None if error else checkpoint_path(self.folder, step)
        self._outcome = SaveOutcome(step, path, error, time.perf_counter() - started, size or 0)

    def _is_first(self) -> bool:
        return self._group is None or dist.get_rank() == 0

    def _together(self, work: Any) -> Any:
        """Do ``work`` on process 0; all wait for it, get its result, and raise its error."""
        answer: list[Any] = [None, None]
        if self._is_first():
            try:
                answer[0] = work()
            except Exception as error:
                answer[1] = _words(error)
        if self._group is not None:
            dist.broadcast_object_list(answer, src=0, group=self._group)
        if answer[1] is not None:
            raise OSError(answer[1])
        return answer[0]

    def _make_room(self, part: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for stale in (*self.folder.glob(".iter_*.part"), *self.folder.glob(".iter_*.old")):
            shutil.rmtree(stale)
        part.mkdir()

    def _finish(self, part: Path, step: int, parts: dict[str, bytes], metrics: dict[str, float]) -> int:
        """Add the small files and the manifest, then let the folder appear under its name; returns its size."""
        for name, content in parts.items():
            (part / name).write_bytes(content)
        write_manifest(part, step, dist.get_world_size() if self._group else 1, metrics)
        size = sum(file.stat().st_size for file in part.rglob("*") if file.is_file())
        path = checkpoint_path(self.folder, step)
        if path.exists():
            _remove(path)
        part.rename(path)
        sync(self.folder)
        write_whole(self.folder / LATEST, lambda partial: partial.write_text(path.name + "\n", encoding="utf-8"))
        self._prune()
        return size

    def _prune(self) -> None:
        if not self.keep_last:
            return
        found = checkpoints_in(self.folder)
        kept = {*found[: self.keep_last], *self._best(found)}
        for path in found:
            if path not in kept:
                _remove(path)

    def _best(self, found: list[Path]) -> list[Path]:
        if not self.keep_best:
            return []
        values = {path: read_manifest(path)["metrics"].get(self.best_metric) for path in found}
        known = [path for path in found if values[path] is not None]
        return sorted(known, key=lambda path: values[path], reverse=not self.best_is_low)[: self.keep_best]


class _Reader(dcp.FileSystemReader):
    """Reads the index of the tensors, a pickle, without running code that the file may hold."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Return the index."""
        path = Path(self.path) / _METADATA
        try:
            with path.open("rb") as stream:
                metadata = _IndexUnpickler(stream, path).load()
        except DataError:
            raise
        except Exception as error:
            wanted = "a checkpoint as training wrote it"
            raise DataError(f"cannot be read as an index of tensors: {error}", file=path, wanted=wanted) from error
        if getattr(metadata, "storage_meta", None) is None:
            metadata.storage_meta = dcp.metadata.StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        return metadata


class _IndexUnpickler(pickle.Unpickler):
    def __init__(self, stream: io.BufferedReader, path: Path) -> None:
        super().__init__(stream)
        self.path = path

    def find_class(self, module: str, name: str) -> Any:
        plain = module == "torch" and isinstance(getattr(torch, name, None), (torch.dtype, torch.layout))
        if plain or (module == "torch" and name == "Size") or name in _ALLOWED.get(module, ()):
            return super().find_class(module, name)
        wanted = "an index of tensors; the file may be malicious"
        raise DataError(f"refers to {module}.{name}", file=self.path, wanted=wanted)


def load_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Fill ``tensors`` from a checkpoint, in place, whatever mesh it was written on; all processes call this.

    Raises:
        DataError: a name is not in the checkpoint, or has another shape; nothing is changed then.
    """
    reader = _Reader(path)
    stored = reader.read_metadata().state_dict_metadata
    for name, tensor in tensors.items():
        found = stored.get(name)
        if not isinstance(found, TensorStorageMetadata) or found.size != tensor.shape:
            what = "missing" if found is None else f"of shape {tuple(getattr(found, 'size', ()))}"
            wanted = f"shape {tuple(tensor.shape)}: the configuration that the checkpoint was trained with"
            raise DataError(f"tensor {what}", file=path, key=name, wanted=wanted)
    dcp.load(dict(tensors), storage_reader=reader, no_dist=not dist.is_initialized())


def load_full(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """Return the whole tensors of a checkpoint whose names begin with ``prefix``, on the CPU, without it."""
    stored = _Reader(path).read_metadata().state_dict_metadata
    tensors = {
        name: torch.empty(item.size, dtype=item.properties.dtype)
        for name, item in stored.items()
        if name.startswith(prefix) and isinstance(item, TensorStorageMetadata)
    }
    if tensors:
        dcp.load(tensors, storage_reader=_Reader(path), no_dist=True)
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def load_state(path: Path) -> dict[str, Any]:
    """Return the state that :meth:`CheckpointStore.save` was given.

    Raises:
        DataError: the file is missing or damaged.
    """
    return read_tensors(path / STATE)


def _remove(path: Path) -> None:
    """Delete a checkpoint; stopped half-way, nothing is left under its name."""
    old = path.with_name(f".{path.name}.old")
    path.rename(old)
    shutil.rmtree(old)


def _words(error: BaseException) -> str:
    """Say what went wrong in one line; of an error on several processes, the first one's."""
    failures = getattr(error, "failures", None)
    if failures:
        rank, first = next(iter(failures.items()))
        first = first[0] if isinstance(first, tuple) else first
        return f"process {rank}: {first}"
    return f"{type(error).__name__}: {error}".splitlines()[0]


__all__ = [
    "LATEST", "CheckpointStore", "SaveOutcome", "checkpoint_path", "checkpoint_step", "load_full", "load_state",
    "load_tensors",
]  # fmt: skip
