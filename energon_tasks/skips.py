"""Samples that cannot be used are counted, told, and end the run when there are too many of them.

Energon prints an error and goes on with the next sample, up to 99 in a row, and counts nothing; with worker processes
the training process does not even see that. Here all workers of a loader count together.
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
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from megatron.energon import SavableDataLoader, SavableDataset, SourceInfo
from megatron.energon.errors import FatalSampleError

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.log import logger


class SkipReport:
    """How many samples were used and how many were not, by all workers of this process's loader.

    Args:
        budget: largest tolerated share of bad samples.
        expected: samples of one pass; the share is taken of these until more have been met.
    """

    def __init__(self, budget: float = 0.001, expected: float = 0) -> None:
        if not 0 <= budget <= 1:
            raise UserError(f"bad_sample_budget {budget}: must lie between 0 and 1 (0.001 is one sample in a thousand)")
        context = multiprocessing.get_context("fork")
        self.budget, self.expected = budget, expected
        self._seen, self._bad, self._short = (context.Value("q", 0) for _ in range(3))
        handle, name = tempfile.mkstemp(prefix="skipped-", suffix=".jsonl")
        os.close(handle)
        self._file = Path(name)
        weakref.finalize(self, _remove, self._file, os.getpid())

    @property
    def seen(self) -> int:
        """Samples met so far, used or not."""
        return self._seen.value

    @property
    def bad(self) -> int:
        """Samples that could not be used."""
        return self._bad.value

    @property
    def short(self) -> int:
        """Samples left out on purpose, because their run is shorter than the wanted sequence."""
        return self._short.value

    def problems(self) -> list[dict[str, str]]:
        """Return what was wrong, oldest first: ``shard``, ``key`` and ``problem`` of each bad sample."""
        with self._file.open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def count_seen(self) -> None:
        """Count a sample that is met."""
        with self._seen.get_lock():
            self._seen.value += 1

    def count_short(self) -> None:
        """Count a sample that is left out on purpose."""
        with self._short.get_lock():
            self._short.value += 1

    def handle(self, error: Exception, sample: Any, sources: Sequence[SourceInfo] | None = None) -> None:
        """Count a bad sample; Energon calls this, in the worker process.

        Raises:
            DataError: more samples are bad than the budget allows.
        """
        key = sample.get("__key__") if isinstance(sample, dict) else getattr(sample, "__key__", None)
        shard = sources[0].shard_name if sources else None
        problem = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        line = json.dumps({"shard": str(shard), "key": str(key), "problem": problem})
        with self._bad.get_lock():
            self._bad.value += 1
            with self._file.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        logger.warning("sample %s of %s is left out: %s", key, shard, problem)
        if self.exceeded():
            raise self.stop_error()

    def exceeded(self) -> bool:
        """Tell whether more samples are bad than the budget allows."""
        return self.bad > self.budget * max(self.seen, self.expected)

    def stop_error(self) -> DataError:
        """Return the error that ends the run."""
        last = self.problems()[-1]
        return DataError(
            f"{self.bad} samples cannot be used, of {max(self.seen, self.expected):.0f}; the last: {last['problem']}",
            file=last["shard"],
            key=last["key"],
            wanted=f"at most a share of {self.budget:g}: see `cosmos-lidar check`, or raise bad_sample_budget",
        )


def _remove(path: Path, owner: int) -> None:
    """Delete the file of a report; forked readers, which have the report too, leave it alone."""
    if os.getpid() == owner:
        path.unlink(missing_ok=True)


class CheckedLoader(SavableDataLoader):
    """Energon's savable loader, with errors that name shard and sample whichever process they come from.

    Args:
        dataset: built by Energon, with ``skip_report.handle`` as its error handler.
        skip_report: counts what is left out.
        folder: the folder of shards, for messages.
    """

    def __init__(self, dataset: SavableDataset, skip_report: SkipReport, folder: Path) -> None:
        self.skip_report, self.folder = skip_report, folder
        super().__init__(dataset)
        self.worker_init_fn = partial(_begin_worker, self.worker_init_fn)

    def __iter__(self) -> Iterator[Any]:
        """Yield batches, like Energon; the inner iterator outlives this one, so that a loop can be taken up again."""
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
    """Begin a worker process that leaves only when its own training process says so.

    SLURM, torchrun and Ctrl-C signal every process of a job. The training process then wants to end its step and save;
    a worker that dies of the signal would end it with an error instead.
    """
    begin(worker)
    training, numbers = os.getppid(), {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)

    def wait() -> None:
        while True:
            found = signal.sigwaitinfo(numbers)
            if found.si_signo == signal.SIGTERM and found.si_pid == training:
                os._exit(0)

    threading.Thread(target=wait, name="signals", daemon=True).start()
