"""Options of a diffusion transformer that its latents determine: their shape, and that of the text embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from cosmos_lidar.errors import UserError
from cosmos_lidar.shards.latents import LATENTS, LatentsFacts, read_latents_facts
from cosmos_lidar.shards.sources import resolve
from cosmos_lidar.training.data_facts import DataFact


class LatentsOptions(Protocol):
    """What :func:`latents_facts` needs to know of ``data``."""

    path: str
    train_split: str
    trust_sample_loaders: bool


def latents_facts(data: LatentsOptions, encoded_by: Mapping[str, str] | None = None) -> tuple[LatentsFacts, Path]:
    """Return what is known of the latents of the training split, and the file or folder it was read from.

    Args:
        data: options of the run.
        encoded_by: sample types that training can encode by itself -> what they hold, and the options that do so.

    Raises:
        DataError: they are not on this machine, or cannot be read.
        UserError: folders whose latents differ, or samples that are not encoded.
    """
    sources = resolve(data.path, data.train_split, data.trust_sample_loaders)
    for held in [(encoded_by or {}).get(part.sample_type or "") for part in sources.parts]:
        if held:
            raise UserError(f"data.path={data.path}: {held}")
    found = read_latents_facts(sources)
    documents = [folder / LATENTS for folder in sources.folders if (folder / LATENTS).is_file()]
    return found, (documents or sources.folders)[0]


def shape_facts(found: LatentsFacts, where: Path) -> dict[str, DataFact]:
    """Return the options ``data.latent_shape`` and ``data.text_shape``, where the first sample can be read."""
    if found.latent is None:
        return {}
    shapes = {"data.latent_shape": list(found.latent), "data.text_shape": list(found.text or ())}
    return {key: DataFact(shape, where) for key, shape in shapes.items()}
