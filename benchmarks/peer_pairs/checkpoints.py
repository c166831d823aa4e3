"""How long a checkpoint keeps training waiting, beside ``torch.save``."""

from __future__ import annotations

import os
import tempfile
from functools import lru_cache
from pathlib import Path

import torch

from cosmos_lidar.training.checkpoint.store import CheckpointStore
from peer_pairs import Maker, Pair


def checkpoint(small: bool) -> Pair:
    """A save in the background, until training goes on, beside ``torch.save`` and ``fsync``."""
    mib = 8 if small else 256
    tensors = {f"{number}.weight": torch.rand(mib, 512, 32) for number in range(16)}  # 1/16 MiB x mib each
    folder, steps = Path(_folder().name), iter(range(10**9))
    store = CheckpointStore(folder / "checkpoints", keep_last=1)

    def finish() -> None:
        outcome = store.wait()
        if outcome is not None and outcome.error:
            raise SystemExit(f"checkpoint: {outcome.error}")

    def wait_alone() -> float:
        store.save(next(steps), tensors, {}, {}, {})
        stalled = store.stall_s
        finish()  # the disk is idle before the next turn; not in the time that training waits
        return stalled

    def whole() -> None:
        store.save(next(steps), tensors, {}, {}, {})
        finish()

    def plain() -> None:
        with (folder / "plain.pt").open("wb") as stream:
            torch.save(tensors, stream)
            stream.flush()
            os.fsync(stream.fileno())

    size = sum(tensor.nbytes for tensor in tensors.values())
    work = f"checkpoint of {size / 2**20:.0f} MiB, until training goes on"
    return Pair(work, "torch.save + fsync", wait_alone, plain, clock="returned", bytes=size, limit="disk",
                ours_alone=whole)  # fmt: skip


@lru_cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


MAKERS: dict[str, Maker] = {"checkpoint": checkpoint}
