"""``from_pretrained``: the network of a model of any family, by name or from a folder."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.hub.finding import find_model
from cosmos_lidar.hub.opening import FAMILIES, open_model


def from_pretrained(
    name: str | Path,
    *,
    family: str | None = None,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    subfolder: str = "",
) -> nn.Module:
    """Return a network with its weights, in float32, on the CPU, in eval mode; its ``config`` has its shape.

    Args:
        name: ``org/name`` of the Hub, an embedded model such as ``cosmos_lidar/small-lidar-tokenizer``, or a folder: of
            ``cosmos-lidar push``, of a run's checkpoint, of Diffusers. Only safetensors and JSON are read of the Hub.
        family: that the model must be of, one of :data:`~cosmos_lidar.hub.opening.FAMILIES`.
        revision: branch, tag or commit of a repository.
        cache_dir: of the Hub; its usual one where None.
        subfolder: of the repository or folder, such as ``transformer`` or ``vae`` in a pipeline of Diffusers.

    Raises:
        DataError: no such model, no connection to the Hub, a model of another family, or damaged weights.
        UserError: an unknown family.
    """
    if family is not None and family not in FAMILIES:
        raise UserError(f"unknown family {family!r}; valid: {', '.join(FAMILIES)}")
    opened = open_model(find_model(name, revision, cache_dir, subfolder))
    if family is not None and opened.family != family:
        kind = type(opened.network).__name__
        raise DataError(f"weights of the family {opened.family} ({kind})", file=name, wanted=f"a model of {family}")
    return opened.network
