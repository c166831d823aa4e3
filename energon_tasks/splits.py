"""A split of ``data.path`` as an Energon loader: one folder of shards, several, or a blend.

Energon's datasets are built here from what :mod:`cosmos_lidar.shards.sources` read; its own reader of configuration
files, which imports and calls what they name, is not used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from megatron.energon import (
    CrudeWebdataset,
    DefaultTaskEncoder,
    ImageSample,
    StandardWebdatasetFactory,
    WorkerConfig,
)
from megatron.energon.epathlib import EPath
from megatron.energon.flavors.webdataset.itar import ITarFile
from megatron.energon.flavors.webdataset.structs import DatasetSubset
from megatron.energon.metadataset.loader_interface import DatasetBlendMode, LoadedDataset

from cosmos_lidar.errors import UserError
from cosmos_lidar.log import logger
from cosmos_lidar.shards.energon_yaml import CRUDE
from cosmos_lidar.shards.sources import Part, Sources, describe
from cosmos_lidar.tars import DataTarInfo
from energon_tasks.loader import CheckedLoader
from energon_tasks.skips import SkipReport
from energon_tasks.user_loaders import UserLoadedWebdataset

_MODES = {
    "none": DatasetBlendMode.NONE,
    "weights": DatasetBlendMode.DATASET_WEIGHT,
    "repetitions": DatasetBlendMode.SAMPLE_REPETITIONS,
}
ITarFile.tarinfo = DataTarInfo  # what a header may ask Energon to allocate
_SLICE = 8  # samples that training reads in a row before it goes to another place


def open_split(
    sources: Sources,
    sample_type: str,
    make_encoder: Callable[[SkipReport], DefaultTaskEncoder],
    *,
    batch_size: int,
    training: bool,
    rank: int | None = None,
    world_size: int | None = None,
    num_workers: int = 0,
    seed: int = 0,
    shuffle_buffer: int = 16,
    repeat: bool = True,
    limit: int | None = None,
    bad_sample_budget: float = 0.001,
    items_per_sample: int = 1,
) -> CheckedLoader:
    """Open a split as an Energon loader whose state can be saved and restored exactly.

    Args:
        sources: folders of the split, from :func:`cosmos_lidar.shards.sources.resolve`.
        sample_type: which of the encoder's cookers reads the samples.
        make_encoder: report -> task encoder, which counts the samples that it meets.
        batch_size: items in a batch.
        training: shuffled and endless; otherwise in order, once, the same each time.
        rank: data-parallel rank; default from torch.distributed.
        world_size: data-parallel size; default from torch.distributed.
        num_workers: processes that read ahead; 0 to read in this one.
        seed: of the order.
        shuffle_buffer: samples to draw from in training.
        repeat: in training: endless; False for one epoch, in which only shards and slices of them are shuffled.
        limit: otherwise: at most that many batches, from all folders by their sizes.
        bad_sample_budget: share of samples that may be unusable before the run stops.
        items_per_sample: items that the encoder makes of one sample, at most.

    Raises:
        UserError: a rank that is not below the world size, fewer samples than readers, or one epoch of a blend that
            has weights.
    """
    workers = _worker_config(num_workers, rank, world_size)
    workers.seed_offset = seed
    report = SkipReport(bad_sample_budget, expected=sources.samples)
    workers.global_error_handler = report.handle
    encoder = make_encoder(report)
    if len(sources.parts) > 1 and workers.rank == 0:
        logger.info("data.path of split %s: %s", sources.split, "; ".join(describe(sources)))
    # Workers hand over single samples in turn: each step then has equally many of every reader, on any number of ranks.
    units = batch_size if training and num_workers else 1
    common: dict[str, Any] = {"worker_config": workers, "batch_size": batch_size // units}
    if training:
        _check_training(sources, workers, repeat)
        parts = [_load(part, sample_type, workers, training=True) for part in sources.parts]
        for loaded, part in zip(parts, sources.parts, strict=True):
            loaded.weight = part.reference.amount if sources.blend == "weights" else None
            loaded.repetitions = part.reference.amount if sources.blend == "repetitions" else None
        # Energon cannot resume a shuffle buffer whose source has ended, and with it a single epoch.
        shuffling = {"shuffle_buffer_size": shuffle_buffer if repeat else None, "repeat": repeat}
        dataset = encoder.build_train_datasets(datasets=parts, blend_mode=_MODES[sources.blend], **shuffling, **common)
    else:
        wanted = None if limit is None else limit * batch_size * workers.world_size / items_per_sample
        parts = [_load(part, sample_type, workers, bounds) for part, bounds in _first_samples(sources, wanted)]
        dataset = encoder.build_val_datasets(datasets=parts, limit=limit, **common)
    return CheckedLoader(dataset, report, sources.text, _identity(sources), units)


def _identity(sources: Sources) -> list[list[Any]]:
    """Return what makes a saved state fit: not the paths, which may differ from machine to machine."""
    parts = [(part.reference.split, part.reference.amount, part.total, part.bounds) for part in sources.parts]
    return [[sources.blend], *([split, amount, total, *bounds] for split, amount, total, bounds in parts)]


def _worker_config(num_workers: int, rank: int | None, world_size: int | None) -> WorkerConfig:
    if rank is None and world_size is None:
        return WorkerConfig.default_worker_config(num_workers)
    rank, world_size = rank or 0, world_size or 1
    if not 0 <= rank < world_size:
        raise UserError(f"rank {rank} of world_size {world_size}: the rank must be below the world size")
    return WorkerConfig(rank=rank, world_size=world_size, num_workers=num_workers)


def _check_training(sources: Sources, workers: WorkerConfig, repeat: bool) -> None:
    """Refuse splits for which Energon would wait for a sample that never comes, or draw others than the blend has."""
    readers = workers.world_size * max(workers.num_workers, 1)
    if sources.samples < readers:
        raise UserError(
            f"{sources.samples} samples in {sources.text} cannot be shared by {readers} readers ({workers.world_size} "
            f"ranks of {workers.num_workers} workers): use fewer workers (data.workers), or smaller samples"
        )
    for part in sources.parts:
        if part.samples < readers and workers.rank == 0:
            text = "%s: %d samples for %d readers: some readers have none of them, and draw from the other folders"
            logger.warning(text, part.folder, part.samples, readers)
    if sources.blend == "weights" and not repeat:
        raise UserError(f"{sources.text} blends by weights, which have no end: repeat=False wants blend_epochized")


def _first_samples(sources: Sources, wanted: float | None) -> list[tuple[Part, tuple[int, int] | None]]:
    """Return what is read of each folder for validation: the same share of all, so that a limit leaves none out."""
    if wanted is None or len(sources.parts) == 1:
        return [(part, None) for part in sources.parts]
    share = min(1.0, wanted / sources.samples)
    bounds = [(part.bounds[0], part.bounds[0] + math.ceil(share * part.samples)) for part in sources.parts]
    return list(zip(sources.parts, bounds, strict=True))


def _load(
    part: Part,
    sample_type: str,
    workers: WorkerConfig,
    bounds: tuple[int, int] | None = None,
    training: bool = False,
) -> LoadedDataset:
    """Return Energon's dataset of one folder, as its own loader would build it."""
    reference = part.reference
    bounds = bounds or (part.bounds if reference.subset else None)
    options: dict[str, Any] = {
        "subflavors": {**part.yaml.subflavors, **reference.subflavors, "sample_type": sample_type},
        "split_part": reference.split,
        "split_config": reference.split_config,
        "worker_config": workers,
        "training": training,
        "shuffle_over_epochs": reference.epochs,
        "subset": DatasetSubset(range=(0, 1), absolute_range=bounds) if bounds else None,
        "decoder": None,  # Energon's executes pickles
    }
    if training:
        options["max_samples_per_sequence"] = _SLICE
    folder = EPath(str(part.folder))
    loader = part.yaml.loader
    if part.yaml.sample_class == CRUDE:
        if loader is not None:
            return LoadedDataset(dataset=UserLoadedWebdataset(folder, loader, **options))
        return LoadedDataset(dataset=CrudeWebdataset(folder, **options))
    options["sample_type"] = ImageSample
    if loader is not None:
        return LoadedDataset(
            dataset=StandardWebdatasetFactory(folder, sample_loader=loader, part_filter=loader.reads, **options)
        )
    options["field_map"] = dict(part.yaml.field_map)
    return LoadedDataset(dataset=StandardWebdatasetFactory(folder, **options))
