"""Video codec (CI, DI, CV, DV) ready for inference, with all facts that its latents depend on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.video_tokenizer.codec import VideoCodec
from cosmos_lidar.latents.cache import weights_hash
from cosmos_lidar.models.tokenizer import load_tokenizer
from cosmos_lidar.models.tokenizer.config import tokenizer_config
from cosmos_lidar.models.tokenizer.pretrained import from_pretrained
from cosmos_lidar.parallel.devices import choose_device


def open_codec(
    checkpoint: str | Path | tuple[str | Path, str | Path],
    kind: str = "",
    device: str = "auto",
    dtype: str = "",
    chunk: int = 2,
    tile: int | None = None,
) -> tuple[VideoCodec, dict[str, Any]]:
    """Load a tokenizer as a video codec, as ``cosmos-lidar tokenize`` does.

    Args:
        checkpoint: folder, file or name on the hub; or the encoder's and the decoder's file.
        kind: refuse another tokenizer than this, such as ``CV8x8x8``; empty accepts all.
        device: auto, cpu, cuda or cuda:N.
        dtype: float32 or bfloat16; empty: bfloat16 on a GPU, float32 on a CPU.
        chunk: latent frames that are computed at once.
        tile: side of the squares, in pixels, that larger images are divided into; None for whole images.

    Returns:
        The codec; family and compression (``tokenizer``), ``weights_sha256``, ``dtype`` and ``tile``.

    Raises:
        DataError: a file is missing, or holds something else.
        UserError: not a tokenizer of ``kind``, or an option is invalid.
    """
    network = _load(checkpoint)
    weights = weights_hash(network)
    if kind:
        _check_kind(network, kind)
    place = choose_device(device)
    dtype = dtype or ("bfloat16" if place.type == "cuda" else "float32")
    codec = VideoCodec(network, place, getattr(torch, dtype), chunk, tile)
    return codec, {"tokenizer": _name(codec), "weights_sha256": weights, "dtype": dtype, "tile": tile}


def _name(codec: VideoCodec) -> str:
    """Return family and compression, such as ``CV8x8x8``."""
    config: Any = codec.network.config
    time = f"{config.temporal_compression}x" if codec.temporal else ""
    return f"{config.family}{time}{config.spatial_compression}x{config.spatial_compression}"


def _load(checkpoint: str | Path | tuple[str | Path, str | Path]) -> Any:
    if not isinstance(checkpoint, tuple):
        return from_pretrained(checkpoint)
    for file in checkpoint:
        if not Path(file).is_file():
            raise DataError("no such file", file=file, wanted="encoder.jit and decoder.jit")
    return load_tokenizer((Path(checkpoint[0]), Path(checkpoint[1])))


def _check_kind(network: Any, name: str) -> None:
    wanted, found = tokenizer_config(name), network.config
    for field in ("family", "spatial_compression", "temporal_compression", "patch_size"):
        if getattr(wanted, field, None) != getattr(found, field, None):
            shown = f"{field} {getattr(found, field, None)}, and {name} has {getattr(wanted, field, None)}"
            raise UserError(f"--tokenizer_type {name}: the checkpoint has {shown}")
