"""The sample format of latents in Energon shards: one encoded clip or canvas a sample, for latent diffusion.

    KEY.latent.npy    latent (C, T, H, W)
    KEY.text.npy      text embedding (M, D), optional
    KEY.rays.npy      rays of the tokens (T, rows, columns, 6), optional
    KEY.alignment.npy features of a lidar backbone, means over the tokens of the range map (rows, columns, D), optional
    KEY.controls.npy  latents of K kinds of control videos (K, C, T, H, W), optional
    KEY.meta.json     ``clip_id`` and whatever else is known

Arrays are float16 or float32.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cosmos_lidar.arrays import read_npy
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import parse_json, read_text
from cosmos_lidar.log import logger
from cosmos_lidar.shards.facts import agree, first_sample
from cosmos_lidar.shards.sources import Part, Sources

if TYPE_CHECKING:
    from torch import Tensor

LATENTS = "latents.json"
SAMPLE_TYPE = "latents"  # of energon_tasks.latents
LATENT, TEXT, RAYS, META = "latent.npy", "text.npy", "rays.npy", "meta.json"
ALIGNMENT = "alignment.npy"
CONTROLS = "controls.npy"
_SAME = (
    "canvas",
    "lidar_weights",
    "lidar_mean_std",
    "image_weights",
    "image_mean_std",
    "alignment_weights",
)  # what latents of one training have in common


def pack_canvas(canvas: Tensor, rays: np.ndarray | None, alignment: np.ndarray | None = None) -> dict[str, bytes]:
    """Return the parts of a sample, half floats.

    Args:
        canvas: (C, 1 + views, H, W) latents.
        rays: (1 + views, rows, columns, 6) of the tokens, or None.
        alignment: (rows, columns, D) features of the tokens of the range map, or None.
    """
    parts = {LATENT: half_bytes(canvas.numpy())}
    for name, array in ((RAYS, rays), (ALIGNMENT, alignment)):
        if array is not None:
            parts[name] = half_bytes(array)
    return parts


def half_bytes(array: np.ndarray) -> bytes:
    """Return an array as a float16 npy file."""
    return array_bytes(array.astype(np.float16))


def array_bytes(array: np.ndarray) -> bytes:
    """Return an array as a npy file of its own dtype."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@dataclass(frozen=True)
class LatentsFacts:
    """What the latents of all folders of a split have in common.

    Attributes:
        latent: shape (C, T, H, W) of the first sample, or None where it cannot be read.
        text: shape (M, D) of its text embedding, or None without.
        rays: shape (T, rows, columns, 6) of its rays, or None without.
        document: what ``latents.json`` of the first folder that has one holds: ``canvas``, ``cameras``, ``sensor``…
        alignment: shape (rows, columns, D) of its features of a lidar backbone, or None where a folder has none.
    """

    latent: tuple[int, ...] | None
    text: tuple[int, ...] | None
    rays: tuple[int, ...] | None
    document: Mapping[str, Any]
    alignment: tuple[int, ...] | None = None


def read_latents_facts(sources: Sources) -> LatentsFacts:
    """Return what the folders have in common, from ``latents.json`` and the first sample of each.

    Raises:
        DataError: a ``latents.json`` that cannot be read, or a shard that is missing.
        UserError: latents of different shapes, or made by other tokenizers (both folders, key and values are named).
    """
    sources.expect(SAMPLE_TYPE)
    documents = {part.folder: _read_document(part.folder) for part in sources.parts}
    shapes = {part.folder: _first_shapes(part) for part in sources.parts}
    aligned = [found.get(ALIGNMENT) for found in shapes.values() if found]
    known = {folder: {key: found[key] for key in _SAME if key in found} for folder, found in documents.items()}
    agree(((folder, {**known[folder], **shapes[folder]}) for folder in known), "latents")
    first: Mapping[str, Any] = next((found for found in shapes.values() if found), {})
    document = next((found for found in documents.values() if found), {})
    alignment = aligned[0] if aligned and all(aligned) else None
    return LatentsFacts(first.get(LATENT), first.get(TEXT), first.get(RAYS), document, alignment)


def _read_document(folder: Path) -> dict[str, Any]:
    path = folder / LATENTS
    if not path.is_file():
        return {}
    try:
        document = parse_json(read_text(path))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read: {error}", file=path, wanted="what `encode-views` wrote") from error
    if not isinstance(document, dict):
        raise DataError("not a mapping", file=path, wanted="what `encode-views` wrote")
    return document


def _first_shapes(part: Part) -> dict[str, tuple[int, ...] | None]:
    """Return the shapes of the arrays of the first sample; nothing where it is broken, which reading will count."""
    content = first_sample(part)
    shapes: dict[str, tuple[int, ...] | None] = {}
    for name in (LATENT, TEXT, RAYS, ALIGNMENT):
        try:
            data = content.get(name)
            if data is not None:
                shapes[name] = read_npy(data).shape
            elif name != ALIGNMENT:  # folders with these features go with others where nobody needs them
                shapes[name] = None
        except DataError as error:
            logger.warning("%s: %s of the first sample cannot be read: %s", part.folder, name, error)
            return {}
    return shapes
