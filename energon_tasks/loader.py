"""Energon's savable loader, with errors that name shard and sample, and an exact place in the data."""

from __future__ import annotations

import os
import signal
import tarfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from megatron.energon import SavableDataLoader, SavableDataset
from megatron.energon.errors import FatalSampleError
from megatron.energon.savable_loader import SavableDataLoaderState, SavableDatasetCheckpoint

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.log import logger
from energon_tasks.batches import JOINED, join_batches
from energon_tasks.skips import SkipReport

_WAY_OUT = "trainer.restart_data=true begins a new shuffle"


class CheckedLoader(SavableDataLoader):
    """Energon's savable loader, with errors of worker processes that name shard and sample.

    Args:
        dataset: built by Energon, with ``skip_report.handle`` as its error handler.
        skip_report: counts skipped samples.
        folder: ``data.path``, for messages.
        identity: of the data, saved with the state: a state of other data has no place to resume from.
        units: batches of ``dataset``, from the workers in turn, that are joined to a batch.
    """

    def __init__(
        self,
        dataset: SavableDataset,
        skip_report: SkipReport,
        folder: Path | str,
        identity: object = None,
        units: int = 1,
    ) -> None:
        self.skip_report, self.folder, self.identity, self.units = skip_report, folder, identity, units
        workers = max(dataset.worker_config.num_workers, 1)
        super().__init__(dataset, prefetch_factor=max(2, -(-2 * units // workers)))
        self.worker_init_fn: Callable[[int], None] = partial(_begin_worker, self.worker_init_fn)
        self._begin_at([SavableDatasetCheckpoint(state=None, offset=0) for _ in range(self.num_workers)])

    def save_state_rank(self) -> dict[str, Any]:
        """Return where this rank's loader is, what it reads, and which samples it could not use."""
        return {"energon": self._place(), "identity": self.identity, "skipped": self.skip_report.state()}

    def restore_state_rank(self, state: Any) -> None:
        """Resume with the very next batch; of other data than the state was saved with, begin with the first.

        Args:
            state: of :meth:`save_state_rank`, or of Energon's own.

        Raises:
            UserError: a batch size that Energon cannot resume with.
        """
        if isinstance(state, dict) and "energon" in state:
            if state["identity"] != self.identity:
                text = "data.path=%s is not what the checkpoint was trained on: the data starts from the beginning"
                logger.warning(text, self.folder)
                return
            if "skipped" in state:  # absent from checkpoints of older versions
                self.skip_report.restore(state["skipped"])
            state = state["energon"]
        try:
            super().restore_state_rank(state)
        except (ValueError, AssertionError) as error:
            problem = f"data.batch_size: the data cannot resume with the next sample ({error})"
            raise UserError(f"{problem}; {_WAY_OUT}") from error
        if state is not None and self.num_workers:
            self._begin_at(state.worker_states)

    def restore_state_of_ranks(self, states: Sequence[Any]) -> None:
        """Resume with the next sample of every reader on another number of ranks, where ranks x workers are the same.

        Args:
            states: of :meth:`save_state_rank` of all data ranks that there were, in their order.

        Raises:
            UserError: other readers, or a batch size that Energon cannot resume with.
        """
        places = [state["energon"] for state in states]
        known = [place for place in places if isinstance(place, SavableDataLoaderState)]
        readers = [reader for place in known for reader in place.worker_states]
        workers, config = self.num_workers, self.worker_config
        same = len(readers) == config.world_size * workers and len(known) == len(places)
        if not same or not all(isinstance(reader, SavableDatasetCheckpoint) for reader in readers):
            before = f"{len(states)} data ranks x {len(readers) // len(states)} data.workers"
            now = f"this run has {config.world_size} x {workers}"
            raise UserError(
                f"the checkpoint is of {before}, {now}: the data resumes with the next sample where ranks x workers "
                f"are the same and workers at least 1; {_WAY_OUT}"
            )
        own = readers[config.rank * workers : (config.rank + 1) * workers]
        place = replace(known[0], worker_states=own, next_worker_id=known[0].next_worker_id % workers)
        self.restore_state_rank({"energon": place, "identity": states[0]["identity"]})

    def _begin_at(self, places: list[SavableDatasetCheckpoint]) -> None:
        """Count the batches of each worker from where it resumes: Energon forgets those behind its last own state."""
        if places:
            self._worker_sample_counters = [
                place.offset + (-1 if place.state is None else place.state.sample_index - 1) for place in places
            ]
        self._begun, self._begun_at = places, list(self._worker_sample_counters)

    def _place(self) -> SavableDataLoaderState | None:
        """Return Energon's state, in which a worker that has given no batch since it began is where it began.

        Energon calls this in every worker; one that is still at its start may not have its position to resume yet.
        """
        place = super().save_state_rank()
        if place is not None and self.num_workers:
            given = [now > before for now, before in zip(self._worker_sample_counters, self._begun_at, strict=True)]
            kept = zip(place.worker_states, self._begun, given, strict=True)
            place.worker_states = [now if has_given else begun for now, begun, has_given in kept]
        return place

    def __len__(self) -> int:
        """Return the batches of an epoch of this rank."""
        return -(-super().__len__() // self.units)

    def restore_sample(self, restore_key: tuple[Any, ...]) -> Any:
        """Return the batch with this ``__restore_key__`` once more."""
        if restore_key[0] == JOINED:
            return join_batches([super(CheckedLoader, self).restore_sample(key) for key in restore_key[1:]])
        return super().restore_sample(restore_key)

    def __iter__(self) -> Iterator[Any]:
        """Yield batches, like Energon; the inner iterator outlives this one, so that a loop can be resumed."""
        batches = super().__iter__()
        try:
            while units := list(islice(batches, self.units)):
                yield units[0] if len(units) == 1 else join_batches(units)
        except DataError as error:
            raise (self.skip_report.stop_error() if self.skip_report.exceeded() else error) from error
        except (tarfile.TarError, FatalSampleError, OSError) as error:
            wanted = "intact shards: `cosmos-lidar check` names what is damaged"
            raise DataError(f"reading failed: {error}", file=self.folder, wanted=wanted) from error


def _begin_worker(begin: Callable[[int], None], worker: int) -> None:
    """Start a worker process that ignores signals to stop unless its own training process sends them.

    SLURM, torchrun, Ctrl-C and a terminal that closes signal every process of a job. The training process then finishes
    its step and saves; a worker that exits on the signal would end it with an error.
    """
    begin(worker)
    training, numbers = os.getppid(), {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1}
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)

    def wait() -> None:
        while True:
            found = signal.sigwaitinfo(numbers)
            if found.si_signo == signal.SIGTERM and found.si_pid == training:
                os._exit(0)

    threading.Thread(target=wait, name="signals", daemon=True).start()
