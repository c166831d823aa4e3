"""Error handling of data loaders: bad samples are skipped, counted by folder, and end the run above a budget.

Energon logs an error and takes the next sample, up to 99 in a row, without counting; errors in worker processes stay
there. Here all workers of a loader share their counters.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import tarfile
import tempfile
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from megatron.energon import SavableDataLoader, SavableDataset, SourceInfo
from megatron.energon.errors import FatalSampleError

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.log import logger


class SkipReport:
    """Counts of read, bad and skipped samples of one loader, shared by all its workers.

    Args:
        budget: largest tolerated share of bad samples.
        expected: samples of one epoch; the share is taken of these until more have been read.
    """

    def __init__(self, budget: float = 0.001, expected: float = 0) -> None:
        if not 0 <= budget <= 1:
            raise UserError(f"bad_sample_budget {budget}: expected 0 to 1 (0.001 is one sample in a thousand)")
        context = multiprocessing.get_context("fork")
        self.budget, self.expected = budget, expected
        self._seen, self._bad, self._short = (context.Value("q", 0) for _ in range(3))
        handle, name = tempfile.mkstemp(prefix="skipped-", suffix=".jsonl")
        os.close(handle)
        self._file = Path(name)
        weakref.finalize(self, _remove, self._file, os.getpid())

    @property
    def seen(self) -> int:
        """Samples read so far, used or not."""
        return self._seen.value

    @property
    def bad(self) -> int:
        """Samples that could not be used."""
        return self._bad.value

    @property
    def short(self) -> int:
        """Samples skipped on purpose: fewer frames than the sequence to be trained on."""
        return self._short.value

    def problems(self) -> list[dict[str, str]]:
        """Return the bad samples, oldest first: ``folder``, ``shard``, ``key`` and ``problem`` of each bad sample."""
        with self._file.open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def bad_by_folder(self) -> dict[str, int]:
        """Return folder of shards -> its bad samples, for folders that have any; the worst one first."""
        return dict(Counter(row["folder"] for row in self.problems()).most_common())

    def count_seen(self) -> None:
        """Count a sample that is read."""
        with self._seen.get_lock():
            self._seen.value += 1

    def count_short(self) -> None:
        """Count a sample that is skipped on purpose."""
        with self._short.get_lock():
            self._short.value += 1

    def handle(self, error: Exception, sample: Any, sources: Sequence[SourceInfo] | None = None) -> None:
        """Log and count a bad sample: the error handler that Energon calls in the worker process.

        Raises:
            DataError: more samples are bad than the budget allows.
        """
        key = sample.get("__key__") if isinstance(sample, dict) else getattr(sample, "__key__", None)
        folder = str(sources[0].dataset_path) if sources else None
        shard = sources[0].shard_name if sources else None
        problem = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        line = json.dumps({"folder": str(folder), "shard": str(shard), "key": str(key), "problem": problem})
        with self._bad.get_lock():
            self._bad.value += 1
            with self._file.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        logger.warning("skipped sample %s of %s/%s: %s", key, folder, shard, problem)
        if self.exceeded():
            raise self.stop_error()

    def exceeded(self) -> bool:
        """Return whether more samples are bad than the budget allows."""
        return self.bad > self.budget * max(self.seen, self.expected)

    def stop_error(self) -> DataError:
        """Return the error that ends the run."""
        last = self.problems()[-1]
        folders = self.bad_by_folder()
        where = "".join(f"; {count} in {folder}" for folder, count in folders.items()) if len(folders) > 1 else ""
        total = max(self.seen, self.expected)
        return DataError(
            f"{self.bad} samples cannot be used, of {total:.0f}{where}; the last: {last['problem']}",
            file=f"{last['folder']}/{last['shard']}",
            key=last["key"],
            wanted=f"at most a share of {self.budget:g}: see `cosmos-lidar check`, or raise bad_sample_budget",
        )


def _remove(path: Path, owner: int) -> None:
    """Delete the file of a report, except in forked workers."""
    if os.getpid() == owner:
        path.unlink(missing_ok=True)


class CheckedLoader(SavableDataLoader):
    """Energon's savable loader, with errors of worker processes that name shard and sample.

    Args:
        dataset: built by Energon, with ``skip_report.handle`` as its error handler.
        skip_report: counts skipped samples.
        folder: ``data.path``, for messages.
        identity: of the data, saved with the state: a state of other data has no place to resume from.
    """

    def __init__(
        self, dataset: SavableDataset, skip_report: SkipReport, folder: Path | str, identity: object = None
    ) -> None:
        self.skip_report, self.folder, self.identity = skip_report, folder, identity
        super().__init__(dataset)
        self.worker_init_fn: Callable[[int], None] = partial(_begin_worker, self.worker_init_fn)

    def save_state_rank(self) -> dict[str, Any]:
        """Return where this rank's loader is, and what it reads."""
        return {"energon": super().save_state_rank(), "identity": self.identity}

    def restore_state_rank(self, state: Any) -> None:
        """Resume with the very next batch; of other data than the state was saved with, begin with the first.

        Args:
            state: of :meth:`save_state_rank`, or of Energon's own.
        """
        if isinstance(state, dict) and "energon" in state:
            if state["identity"] != self.identity:
                text = "data.path=%s is not what the checkpoint was trained on: the data starts from the beginning"
                logger.warning(text, self.folder)
                return
            state = state["energon"]
        super().restore_state_rank(state)

    def __iter__(self) -> Iterator[Any]:
        """Yield batches, like Energon; the inner iterator outlives this one, so that a loop can be resumed."""
        batches = super().__iter__()
        try:
            for batch in batches:  # noqa: UP028 - "yield from" would close the inner iterator with this one
                yield batch
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
