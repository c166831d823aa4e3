"""Kind of network that weights are of, by the names of their tensors: for errors about weights of another network."""

from __future__ import annotations

import re
from collections.abc import Iterable

ADAPTERS = "LoRA adapters"
BACKBONE = "a sparse backbone (MinkUNet, SPVCNN or SECOND)"
PREDICT2 = "a diffusion transformer of Cosmos-Predict2 (multi-view)"
DIT = "a diffusion transformer of Cosmos-Predict1 (camera to lidar)"
VAE = "a Wan2.1 VAE"
TOKENIZER = "a Cosmos tokenizer (range maps, images or videos)"
TEXT_ENCODER = "a T5 text encoder"

_NAMES = (  # kind, beginning of a name that it alone has, below those of wrappers; the first that fits is taken
    (BACKBONE, r"(stem\.0\.kernel|backbone_3d\.conv_input\.0\.weight)$"),
    (PREDICT2, r"t_embedding_norm\.weight$"),
    (DIT, r"affline_norm\.weight$"),
    (VAE, r"(encoder\.conv1\.weight|decoder\.up_blocks\.0\.resnets\.)"),
    (TOKENIZER, r"(encoder|decoder)\.conv_in\."),
    (TEXT_ENCODER, r"encoder\.block\.0\.layer\.0\.SelfAttention\."),
    (ADAPTERS, r"\S+\.lora_A\."),  # alone: beside the weights of a network they are that network's
)


def kind_of(names: Iterable[str]) -> str | None:
    """Return the kind of network that has tensors of these names; None for others than this package's."""
    listed = list(names)
    return next((kind for kind, pattern in _NAMES if _holds(listed, pattern)), None)


def other_kind(names: Iterable[str], own: str) -> str | None:
    """Return what is wrong with weights: ``weights of a Wan2.1 VAE``.

    Args:
        names: of their tensors.
        own: the kind that is expected, one of the constants of this module.

    Returns:
        None where some name is of the expected kind, or all are unknown.
    """
    listed = list(names)
    if _holds(listed, dict(_NAMES)[own]):
        return None
    kind = kind_of(listed)
    return None if kind is None else f"weights of {kind}" if kind != ADAPTERS else kind


def _holds(names: list[str], pattern: str) -> bool:
    within = re.compile(rf"(?:^|\.){pattern}")
    return any(within.search(name) for name in names)
