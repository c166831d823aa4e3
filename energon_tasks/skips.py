"""Error handling of data loaders: bad samples are skipped, counted once each, and end the run above a budget.

Energon logs an error and takes the next sample, up to 99 in a row, without counting; errors in worker processes stay
there. Here all workers of a loader share their counters.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import weakref
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from megatron.energon import SourceInfo

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.files import append_whole, write_may_fail
from cosmos_lidar.log import logger

_MOST_KEPT = 10_000  # bad samples in a checkpoint


class SkipReport:
    """Counts of read, bad and skipped samples of one loader, shared by all its workers.

    Args:
        budget: largest tolerated share of bad samples.
        expected: samples of one epoch, of all ranks together: the budget is a share of these, however often and by
            how many ranks they are read. 0 where that is not known; it is then a share of those read so far.
    """

    def __init__(self, budget: float = 0.001, expected: float = 0) -> None:
        if not 0 <= budget <= 1:
            raise UserError(f"bad_sample_budget {budget}: expected 0 to 1 (0.001 is one sample in a thousand)")
        context = multiprocessing.get_context("fork")
        self.budget, self.expected = budget, expected
        self._seen, self._bad, self._short = (context.Value("q", 0) for _ in range(3))
        handle, name = tempfile.mkstemp(prefix="skipped-", suffix=".jsonl")
        os.unlink(name)  # gone with the last process that has it open, however that ends; forked workers inherit it
        self._file = Path(f"/proc/self/fd/{handle}")
        self._known: set[tuple[str, str, str]] = set()  # samples in the file up to the offset
        self._offset = 0
        self._last: dict[str, str] = {}
        weakref.finalize(self, os.close, handle)

    @property
    def seen(self) -> int:
        """Samples read so far, used or not."""
        return self._seen.value

    @property
    def bad(self) -> int:
        """Samples that could not be used, each counted once."""
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
        row = {"folder": str(folder), "shard": str(shard), "key": str(key), "problem": problem}
        if not self._note(row, named=key is not None):
            return
        logger.warning("skipped sample %s of %s/%s: %s", key, folder, shard, problem)
        if self.exceeded():
            raise self.stop_error()

    def _note(self, row: dict[str, str], named: bool = True) -> bool:
        """Count a bad sample; returns False for one that was counted before, by any worker; without a key none was."""
        sample = (row["folder"], row["shard"], row["key"])
        with self._bad.get_lock():
            self._last = row
            self._read_on()
            if named and sample in self._known:
                return False
            self._known.add(sample)
            self._bad.value += 1
            what = f"the list of skipped samples in {tempfile.gettempdir()}"
            with write_may_fail(what, "they are counted all the same"):
                append_whole(self._file, (json.dumps(row) + "\n").encode())
        return True

    def _read_on(self) -> None:
        """Learn what other workers have noted."""
        with self._file.open("rb") as file:
            file.seek(self._offset)
            content = file.read()
        self._offset += len(content)
        for line in content.splitlines():
            row = json.loads(line)
            self._known.add((row["folder"], row["shard"], row["key"]))

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: the bad samples. Those read count again: a resume reads some again."""
        return {"bad": self.bad, "problems": self.problems()[:_MOST_KEPT]}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on counting from :meth:`state`; call this before any worker has started."""
        for row in state["problems"]:
            self._note(row)
        self._bad.value = state["bad"]

    @property
    def allowed(self) -> float:
        """Bad samples that the budget allows."""
        return self.budget * (self.expected or self.seen)

    def exceeded(self, bad: int | None = None) -> bool:
        """Return whether more samples are bad than the budget allows; ``bad`` of all ranks, by default of this one."""
        return (self.bad if bad is None else bad) > self.allowed

    def stop_error(self, bad: int | None = None) -> DataError:
        """Return the error that ends the run; ``bad`` as for :meth:`exceeded`."""
        rows = self.problems()
        last = rows[-1] if rows else self._last or dict.fromkeys(("folder", "shard", "key", "problem"), "unknown")
        folders = self.bad_by_folder()
        where = "".join(f"; {count} in {folder}" for folder, count in folders.items()) if len(folders) > 1 else ""
        total = self.expected or self.seen
        return DataError(
            f"{self.bad if bad is None else bad} samples cannot be used, of {total:.0f}{where}; "
            f"the last: {last['problem']}",
            file=f"{last['folder']}/{last['shard']}",
            key=last["key"],
            wanted=f"at most a share of {self.budget:g}: see `cosmos-lidar check`, or raise bad_sample_budget",
        )
