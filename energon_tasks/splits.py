"""A split of an indexed folder as a loader that counts what it cannot use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from megatron.energon import DefaultTaskEncoder, WorkerConfig, get_train_dataset, get_val_dataset

from cosmos_lidar.errors import DataError
from cosmos_lidar.shards.manifest import ENERGON
from energon_tasks.skips import CheckedLoader, SkipReport


def open_split(
    path: Path,
    split: str,
    make_encoder: Callable[[SkipReport], DefaultTaskEncoder],
    *,
    batch_size: int,
    training: bool,
    rank: int,
    world_size: int,
    num_workers: int = 0,
    seed: int = 0,
    shuffle_buffer: int = 16,
    limit: int | None = None,
    bad_sample_budget: float = 0.001,
) -> CheckedLoader:
    """Open a split as an Energon loader whose state can be saved.

    Args:
        path: folder of shards, indexed by Energon.
        split: such as ``train``.
        make_encoder: report -> task encoder, which counts the samples that it meets.
        batch_size: samples in a batch.
        training: shuffled and endless; otherwise in order, once, the same each time.
        rank: of this share of the data.
        world_size: number of shares.
        num_workers: processes that read ahead; 0 to read in this one.
        seed: of the order.
        shuffle_buffer: samples to draw from in training.
        limit: otherwise: at most that many batches.
        bad_sample_budget: share of samples that may be unusable before the run stops.

    Raises:
        DataError: not an indexed folder of shards.
    """
    if not (path / ENERGON / "split.yaml").is_file():
        raise DataError("no indexed shards", file=path, wanted="a folder of shards with Energon's .nv-meta")
    workers = WorkerConfig(rank=rank, world_size=world_size, num_workers=num_workers, seed_offset=seed)
    report = SkipReport(bad_sample_budget)
    workers.global_error_handler = report.handle
    common = {"split_part": split, "worker_config": workers, "batch_size": batch_size}
    common["task_encoder"] = make_encoder(report)
    if training:
        shuffling = {"shuffle_buffer_size": shuffle_buffer, "max_samples_per_sequence": 8}
        dataset = get_train_dataset(str(path), **shuffling, **common)
    else:
        dataset = get_val_dataset(str(path), limit=limit, **common)
    return CheckedLoader(dataset, report, path)
