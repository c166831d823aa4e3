"""Task encoder for camera-to-lidar diffusion: range image and camera images of a frame (``prepare --views``)."""

from __future__ import annotations

import hashlib
import json
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

from cosmos_lidar.clips.images import read_image
from cosmos_lidar.clips.range_codec import decode_ranges
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.range_image import cut_image
from cosmos_lidar.sensors.sensor import Sensor
from cosmos_lidar.shards.frames import META
from cosmos_lidar.shards.sources import DataPath, resolve
from cosmos_lidar.shards.views import IMAGE, RANGES, RAYS, SAMPLE_TYPE, ViewsFacts, read_views_facts
from energon_tasks.batches import DeviceBatch
from energon_tasks.cookers import TypedCooker
from energon_tasks.latents import read_array
from energon_tasks.loader import CheckedLoader
from energon_tasks.seeds import noise_seed
from energon_tasks.skips import SkipReport
from energon_tasks.splits import open_split


@edataclass
class ViewsSample(Sample):
    """One frame: lidar (3, h, w), camera images (V, 3, H, W), rays (1 + V, r, c, 6) or None; hash of its content."""

    lidar: torch.Tensor
    images: torch.Tensor
    rays: torch.Tensor | None
    content: str
    clip_id: str
    noise_seed: int


@edataclass
class ViewsBatch(DeviceBatch):
    """A batch of frames.

    Attributes:
        lidar: (B, 3, h, w) float32 in [-1, 1], range images, center-cropped.
        images: (B, V, 3, H, W) float32 in [-1, 1], camera images.
        rays: (B, 1 + V, rows, columns, 6) float32, or None.
        content: SHA-256 of the parts of each sample: key of cached latents.
        clip_ids: clip of each sample.
        noise_seeds: a seed for each sample, as those of :class:`~energon_tasks.latents.LatentBatch`.
    """

    lidar: torch.Tensor
    images: torch.Tensor
    rays: torch.Tensor | None
    content: list[str]
    clip_ids: list[str]
    noise_seeds: list[int]


class ViewsTaskEncoder(DefaultTaskEncoder[ViewsSample, ViewsSample, ViewsBatch, ViewsBatch]):
    """Decodes frames; nothing is random but the noise seeds.

    Args:
        facts: of the folder.
        step: pixels of a range image that one latent covers; images are cropped to whole latents.
        seed: of the noise seeds.
        fresh: the noise differs each time a sample is read (training).
        report: counts samples read and skipped.
    """

    decoder = None  # the default one executes pickles

    def __init__(self, facts: ViewsFacts, step: int, seed: int, fresh: bool, report: SkipReport) -> None:
        super().__init__()
        self.facts, self.step, self.seed, self.fresh, self.report = facts, step, seed, fresh, report
        self.cookers = [TypedCooker(self.cook, SAMPLE_TYPE)]

    @stateless
    def cook(self, crude: dict) -> ViewsSample:
        """Decode the parts of a sample."""
        self.report.count_seen()
        names = [f"{camera}{IMAGE}" for camera in self.facts.cameras]
        for part in (RANGES, META, *names):
            if part not in crude:
                raise DataError("part missing", key=part, wanted=f"{RANGES}, {META} and {', '.join(names)}")
        content = hashlib.sha256()
        for part in (RANGES, *names):
            content.update(hashlib.sha256(crude[part]).digest())
        range_m = _range_map(crude[RANGES])
        if range_m.shape != self.facts.sensor.shape:
            wanted = f"{self.facts.sensor.shape}, as in sensor.yaml"
            raise DataError(f"a range map of {range_m.shape}", key=RANGES, wanted=wanted)
        return ViewsSample(
            **basic_sample_keys(crude),
            lidar=cut_image(range_m, self.facts.sensor.format, self.step)[0],
            images=torch.stack([_decode_image(crude[name], name, self.facts.image_size) for name in names]),
            rays=read_array(crude[RAYS], RAYS, 4) if RAYS in crude else None,
            content=content.hexdigest(),
            clip_id=str(json.loads(crude[META])["clip_id"]),
            noise_seed=0,
        )

    @stateless
    def encode_sample(self, sample: ViewsSample) -> ViewsSample:
        """Give the sample its noise seed, from its place in the stream of samples."""
        sample.noise_seed = noise_seed(sample, self.seed, self.fresh)
        return sample

    @stateless
    def batch(self, samples: list[ViewsSample]) -> ViewsBatch:
        """Stack the samples."""
        rays = [sample.rays for sample in samples if sample.rays is not None]
        return ViewsBatch.from_samples(
            samples,
            lidar=torch.stack([sample.lidar for sample in samples]),
            images=torch.stack([sample.images for sample in samples]),
            rays=torch.stack(rays) if len(rays) == len(samples) else None,
            content=[sample.content for sample in samples],
            clip_ids=[sample.clip_id for sample in samples],
            noise_seeds=[sample.noise_seed for sample in samples],
        )


def views_loader(
    path: DataPath,
    split: str,
    *,
    step: int,
    training: bool,
    seed: int = 0,
    sensor: Sensor | None = None,
    trust_sample_loaders: bool = False,
    **options: Any,
) -> CheckedLoader:
    """Open a split of frames as an Energon loader of :class:`ViewsBatch`, whose state can be saved.

    Args:
        path: folder that ``prepare --views`` wrote, several, or a metadataset YAML; see
            :mod:`cosmos_lidar.shards.sources`.
        split: such as ``train``.
        step: pixels of a range image that one latent covers.
        training: shuffled and endless; otherwise in order, once, the same each time.
        seed: of order and noise.
        sensor: the lidar, where a folder has no ``sensor.yaml``.
        trust_sample_loaders: run the Python functions that a ``dataset.yaml`` names.
        **options: of :func:`~energon_tasks.splits.open_split`.

    Raises:
        DataError: not an indexed folder of shards of frames.
        UserError: folders whose cameras, image sizes or sensors differ, or no sensor is known.
    """
    sources = resolve(path, split, trust_sample_loaders)
    facts = read_views_facts(sources, sensor)

    def make_encoder(report: SkipReport) -> ViewsTaskEncoder:
        return ViewsTaskEncoder(facts, step, seed, training, report)

    return open_split(sources, SAMPLE_TYPE, make_encoder, training=training, seed=seed, **options)


def _range_map(content: bytes) -> np.ndarray:
    try:
        return decode_ranges(content)[0]
    except DataError as error:
        raise error.at(key=RANGES) from error


def _decode_image(content: bytes, part: str, size: tuple[int, int]) -> torch.Tensor:
    image = read_image(content, key=part)
    if image.shape[:2] != size:
        raise DataError(f"an image of {image.shape[:2]}", key=part, wanted=f"{size}, as in views.json")
    return torch.from_numpy(image).permute(2, 0, 1).float() / 127.5 - 1.0
