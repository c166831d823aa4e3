"""Trace of every item of a batch to its dataset, shard, byte offset, clip and frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from megatron.energon import Batch

from cosmos_lidar.errors import DataError
from cosmos_lidar.shards.manifest import ENERGON
from cosmos_lidar.shards.trace import Trace, Tracer


@dataclass(frozen=True)
class ItemTrace:
    """Where one item of a batch comes from.

    Attributes:
        sample: the sample that it was made of: folder, shard, offsets, clip, all its frames.
        frame_id: the frame (the first one of a sequence); None where batches of this type do not name it.
        frame_number: place of that frame in the clip; None where not known.
    """

    sample: Trace
    frame_id: str | None = None
    frame_number: int | None = None


def trace_batch(batch: Batch) -> list[ItemTrace]:
    """Return where each item of a batch comes from, in the order of the items.

    Energon hands over folder and shard of every sample (``batch.__sources__``); offsets come from its index, clip and
    frames from the sample's description. The index of a folder is read once.

    Raises:
        DataError: the batch has no sources, or the shards are not those that it was read from.
    """
    sources = batch.__sources__ or ()
    if len(sources) != len(batch.__key__):
        problem = f"{len(sources)} sources for {len(batch.__key__)} items"
        raise DataError(problem, key="__sources__", wanted="a batch of a loader in energon_tasks")
    frames = getattr(batch, "frame_ids", [None] * len(sources))
    traces = []
    for key, source, frame in zip(batch.__key__, sources, frames, strict=True):
        (sample,) = _tracer(Path(str(source.dataset_path))).trace(key, source.shard_name)
        number = None
        if frame is not None:
            position = sample.frame(frame)
            number = sample.frame_numbers[position] if position < len(sample.frame_numbers) else None
        traces.append(ItemTrace(sample, frame, number))
    return traces


def _tracer(folder: Path) -> Tracer:
    index = folder / ENERGON / "index.sqlite"
    return _tracer_of(folder, index.stat().st_mtime_ns if index.is_file() else 0)


@lru_cache(maxsize=16)
def _tracer_of(folder: Path, changed_ns: int) -> Tracer:
    return Tracer(folder)
