"""Pretrained tokenizers: from a folder or file, or a repository of the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.deferred import InitialWeights
from cosmos_lidar.models.stored_weights import StoredWeights
from cosmos_lidar.models.tokenizer.checkpoint import load_tokenizer, open_tokenizer
from cosmos_lidar.models.tokenizer.network import Tokenizer
from cosmos_lidar.weights import find, is_embedded

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_FILES = ("encoder.jit", "decoder.jit", "autoencoder.jit", "model.pt", "*.safetensors", "config.json")


def from_pretrained(name: str | Path) -> Tokenizer:
    """Return the tokenizer of a checkpoint.

    Args:
        name: a file or folder that :func:`~cosmos_lidar.models.tokenizer.load_tokenizer` reads, an embedded model such
            as ``cosmos_lidar/small-lidar-tokenizer``, or a repository such as
            ``nvidia/Cosmos-1.0-Tokenizer-CV8x8x8``, which is downloaded once and then read from the cache, also
            offline.

    Raises:
        DataError: it does not exist, cannot be downloaded, or is no tokenizer.
        UserError: there is no such embedded model, or huggingface_hub is needed and not installed.
    """
    return load_tokenizer(place_of(name))


def open_pretrained(name: str | Path) -> tuple[Tokenizer, list[StoredWeights | InitialWeights]]:
    """Open the same files without reading the weights into memory, see :func:`open_tokenizer`."""
    return open_tokenizer(place_of(name))


def place_of(name: str | Path) -> str | Path:
    """Return the file or folder of a name: its own, that of an embedded model, or that of a downloaded repository.

    Raises:
        DataError: a repository that cannot be downloaded.
        UserError: there is no such embedded model.
    """
    if is_embedded(name):
        return find(str(name))
    return name if Path(name).exists() or not is_hub_name(name) else _download(str(name))


def is_hub_name(name: str | Path) -> bool:
    """Return whether a name looks like a repository of the hub, such as ``nvidia/NAME``."""
    return _HUB_NAME.fullmatch(str(name)) is not None


def _download(name: str) -> Path:
    import huggingface_hub as hub

    try:
        return Path(hub.snapshot_download(name, allow_patterns=list(_FILES)))
    except Exception as error:  # connection, permission, unknown name: the hub raises many kinds
        wanted = (
            f"a folder of that name, or access to the hub (HF_TOKEN for licensed models), or files fetched elsewhere: "
            f"`hf download {name} --local-dir {name.rpartition('/')[2]}`, then give that folder"
        )
        reason = f"not on this disk, and not downloaded: {why_unreached(error):.200}"
        raise DataError(reason, file=name, wanted=wanted) from error


def why_unreached(error: Exception) -> str:
    """Return in one line why the Hugging Face Hub did not answer."""
    from huggingface_hub import constants

    return "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else " ".join(str(error).split())
