"""Lidar tokenizer ready for inference: loaded, on its device, in its precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cosmos_lidar.errors import DataError
from cosmos_lidar.latents.cache import weights_hash
from cosmos_lidar.models.tokenizer import VideoTokenizerConfig, load_tokenizer
from cosmos_lidar.models.tokenizer.pretrained import place_of
from cosmos_lidar.parallel.devices import choose_device


@dataclass(frozen=True)
class OpenTokenizer:
    """Loaded tokenizer on its device.

    Attributes:
        network: module with ``encode`` and ``decode``.
        device: device of the weights.
        dtype: precision of the computation.
        description: files and hash of the weights, for the metrics file.
    """

    network: nn.Module
    device: torch.device
    dtype: torch.dtype
    description: dict[str, Any]


def open_tokenizer(
    files: Sequence[str | Path],
    device: str = "auto",
    dtype: torch.dtype = torch.float32,
    ema: bool = False,
    any_kind: bool = False,
) -> OpenTokenizer:
    """Load a tokenizer for inference, as ``cosmos-lidar autoencode`` does.

    Args:
        files: one checkpoint (a file, a folder, or a repository of the Hub), or the encoder's and the decoder's file.
        device: auto, cpu, cuda or cuda:N.
        dtype: precision of the computation.
        ema: take the EMA weights of a training checkpoint.
        any_kind: accept video tokenizers, too.

    Raises:
        DataError: a file is missing, or holds something else.
        UserError: the device is not available.
    """
    paths = [Path(place_of(file)) for file in files]
    for path in paths:
        if not path.exists():
            raise DataError("no such tokenizer", file=path, wanted="the path of a checkpoint, see --checkpoint")
    place = choose_device(device)
    network = load_tokenizer(paths[0] if len(paths) == 1 else list(paths), ema=ema)
    if isinstance(network.config, VideoTokenizerConfig) and not any_kind:
        kind = f"{network.config.family} tokenizer, for videos"
        raise DataError(f"a {kind}", file=paths[0], wanted="a tokenizer of single range maps (CI, DI)")
    description = {"files": [str(path) for path in paths], "weights_sha256": weights_hash(network)}
    return OpenTokenizer(network.eval().to(device=place, dtype=dtype), place, dtype, description)
