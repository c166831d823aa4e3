"""Shards of encoded latents (and text embeddings) as batches for a diffusion transformer.

:mod:`cosmos_lidar.shards.latents` has the parts of a sample.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from megatron.energon import (
    DefaultTaskEncoder,
    Sample,
    basic_sample_keys,
    edataclass,
    stateless,
)

from cosmos_lidar.arrays import read_npy
from cosmos_lidar.errors import DataError
from cosmos_lidar.shards.latents import (
    ALIGNMENT,
    CONTROLS,
    LATENT,
    META,
    RAYS,
    SAMPLE_TYPE,
    TEXT,
    read_latents_facts,
)
from cosmos_lidar.shards.sources import DataPath, resolve
from energon_tasks.batches import DeviceBatch
from energon_tasks.cookers import TypedCooker
from energon_tasks.loader import CheckedLoader
from energon_tasks.seeds import noise_seed
from energon_tasks.skips import SkipReport
from energon_tasks.splits import open_split


@edataclass
class LatentSample(Sample):
    """One encoded clip; fields as those of :class:`LatentBatch`, without the batch axis."""

    latent: torch.Tensor
    text: torch.Tensor | None
    rays: torch.Tensor | None
    alignment: torch.Tensor | None
    controls: torch.Tensor | None
    clip_id: str
    noise_seed: int


@edataclass
class LatentBatch(DeviceBatch):
    """A batch of encoded clips.

    Attributes:
        latents: (B, C, T, H, W) float32.
        text: (B, M, D) float32, or None.
        rays: (B, T, rows, columns, 6) float32, or None.
        alignment: (B, rows, columns, D) float32 features of a lidar backbone, or None where they were not asked for.
        controls: (B, K, C, T, H, W) float32 latents of control videos, or None.
        clip_ids: clip of each sample.
        noise_seeds: a seed for each sample, a new one each time the sample is read: noise drawn from it does not
            depend on how samples are sharded over ranks.
    """

    latents: torch.Tensor
    text: torch.Tensor | None
    rays: torch.Tensor | None
    alignment: torch.Tensor | None
    controls: torch.Tensor | None
    clip_ids: list[str]
    noise_seeds: list[int]


class LatentsTaskEncoder(DefaultTaskEncoder[LatentSample, LatentSample, LatentBatch, LatentBatch]):
    """Reads latents; nothing is random but the noise seeds.

    Args:
        seed: of the noise seeds.
        fresh: the noise differs each time a sample is read (training).
        report: counts samples read and skipped.
        alignment: samples have features of a lidar backbone; otherwise these are not read.
    """

    decoder = None  # the default one executes pickles

    def __init__(self, seed: int, fresh: bool, report: SkipReport, alignment: bool = False) -> None:
        super().__init__()
        self.seed, self.fresh, self.report, self.alignment = seed, fresh, report, alignment
        self.cookers = [TypedCooker(self.cook, SAMPLE_TYPE)]

    @stateless
    def cook(self, crude: dict) -> LatentSample:
        """Decode the parts of a sample."""
        self.report.count_seen()
        for part in (LATENT, META, *([ALIGNMENT] if self.alignment else [])):
            if part not in crude:
                raise DataError("part missing", key=part, wanted=f"{LATENT}, {META} and optionally {TEXT}, {RAYS}")
        return LatentSample(
            **basic_sample_keys(crude),
            latent=read_array(crude[LATENT], LATENT, 4),
            text=read_array(crude[TEXT], TEXT, 2) if TEXT in crude else None,
            rays=read_array(crude[RAYS], RAYS, 4) if RAYS in crude else None,
            alignment=read_array(crude[ALIGNMENT], ALIGNMENT, 3) if self.alignment else None,
            controls=read_array(crude[CONTROLS], CONTROLS, 5) if CONTROLS in crude else None,
            clip_id=str(json.loads(crude[META])["clip_id"]),
            noise_seed=0,
        )

    @stateless
    def encode_sample(self, sample: LatentSample) -> LatentSample:
        """Give the sample its noise seed, from its place in the stream of samples."""
        sample.noise_seed = noise_seed(sample, self.seed, self.fresh)
        return sample

    @stateless
    def batch(self, samples: list[LatentSample]) -> LatentBatch:
        """Stack the samples."""
        return LatentBatch.from_samples(
            samples,
            latents=torch.stack([sample.latent for sample in samples]),
            text=_stack_optional(TEXT, [sample.text for sample in samples]),
            rays=_stack_optional(RAYS, [sample.rays for sample in samples]),
            alignment=_stack_optional(ALIGNMENT, [sample.alignment for sample in samples]),
            controls=_stack_optional(CONTROLS, [sample.controls for sample in samples]),
            clip_ids=[sample.clip_id for sample in samples],
            noise_seeds=[sample.noise_seed for sample in samples],
        )


def latents_loader(
    path: DataPath,
    split: str,
    *,
    training: bool,
    seed: int = 0,
    trust_sample_loaders: bool = False,
    alignment: bool = False,
    **options: Any,
) -> CheckedLoader:
    """Open a split of latents as an Energon loader of :class:`LatentBatch`, whose state can be saved.

    Args:
        path: folder of shards, several, or a metadataset YAML; see :mod:`cosmos_lidar.shards.sources`.
        split: such as ``train``.
        training: shuffled and endless; otherwise in order, once, the same each time.
        seed: of order and noise.
        trust_sample_loaders: run the Python functions that a ``dataset.yaml`` names.
        alignment: samples have features of a lidar backbone.
        **options: of :func:`~energon_tasks.splits.open_split`.

    Raises:
        DataError: not an indexed folder of shards of latents.
        UserError: folders whose latents differ in shape, or were made by other tokenizers.
    """
    sources = resolve(path, split, trust_sample_loaders)
    read_latents_facts(sources)

    def make_encoder(report: SkipReport) -> LatentsTaskEncoder:
        return LatentsTaskEncoder(seed, training, report, alignment)

    return open_split(sources, SAMPLE_TYPE, make_encoder, training=training, seed=seed, **options)


def _stack_optional(name: str, parts: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    """Stack what all samples have, or return None for what none has."""
    there = [part for part in parts if part is not None]
    if there and len(there) < len(parts):
        raise DataError("part missing in some samples of a batch", key=name, wanted="in all samples, or in none")
    return torch.stack(there) if there else None


def read_array(content: bytes, part: str, ndim: int) -> torch.Tensor:
    """Return an array as float32, without running code that the file may hold.

    Raises:
        DataError: not a npy file, or not floats of ``ndim`` dimensions.
    """
    try:
        array = read_npy(content)
    except DataError as error:
        raise DataError(f"not readable: {error.problem}", key=part, wanted=error.wanted) from error
    if array.ndim != ndim or array.dtype.kind != "f":
        raise DataError(f"{array.dtype} of shape {array.shape}", key=part, wanted=f"floats with {ndim} dimensions")
    return torch.from_numpy(array.astype(np.float32))
