"""Files of latents: one ``.safetensors`` for each video or image, with what is needed to decode it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cosmos_lidar.errors import DataError
from cosmos_lidar.families.video_tokenizer.codec import EncodedVideo
from cosmos_lidar.files import atomic_write, read_header, read_tensors

SUFFIX = ".safetensors"
_WANTED = "a file that `cosmos-lidar tokenize` wrote"


def write_encoded(path: Path, encoded: EncodedVideo, facts: dict[str, Any]) -> None:
    """Write latents (C, t, h, w), or indices (t, h, w) int32, with sizes, crop and ``facts`` in the header.

    Raises:
        DataError: the disk is full, or another failure to write.
    """
    from safetensors.torch import save

    both = {"latents": encoded.latents, "indices": encoded.indices}
    tensors = {name: tensor.contiguous() for name, tensor in both.items() if tensor is not None}
    sizes = {name: value for name, value in asdict(encoded).items() if name not in ("latents", "indices")}
    header = {"cosmos_lidar": json.dumps({**sizes, **facts})}
    try:
        with atomic_write(path) as partial:
            partial.write_bytes(save(tensors, header))
    except OSError as error:
        raise DataError(f"cannot write: {error.strerror}", file=path, wanted="a folder to write to") from error


def read_facts(path: Path) -> dict[str, Any]:
    """Return sizes, crop and facts of a file of latents.

    Raises:
        DataError: not such a file.
    """
    try:
        return json.loads(read_header(path, _WANTED)["cosmos_lidar"])
    except (KeyError, ValueError) as error:
        raise DataError(f"not readable: {error}", file=path, wanted=_WANTED) from error


def read_encoded(path: Path) -> tuple[EncodedVideo, dict[str, Any]]:
    """Return what :func:`write_encoded` was given.

    Raises:
        DataError: not such a file.
    """
    facts, tensors = read_facts(path), read_tensors(path, _WANTED)
    try:
        sizes = {name: facts.pop(name) for name in ("frames", "height", "width")}
        crop = tuple(facts.pop("crop"))
    except KeyError as error:
        raise DataError(f"not readable: {error}", file=path, wanted=_WANTED) from error
    return EncodedVideo(tensors.get("latents"), tensors.get("indices"), crop=crop, **sizes), facts
