"""A small embedded model in a folder of its own, where tests put it in place of the package's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from cosmos_lidar import weights
from cosmos_lidar.models.tokenizer.export import export_safetensors

CARD = "# A model\n\n## Data\n## Training\n## Metrics\n## License\n## Limits\n"


def embed(
    patch: pytest.MonkeyPatch, root: Path, name: str, network: nn.Module, config: Mapping[str, Any] | None = None
) -> Path:
    """Write ``network`` as the embedded model ``name`` below ``root``, and have the catalog look there.

    Args:
        patch: ends with the test.
        root: catalog; other models in it stay.
        name: such as ``small-lidar-tokenizer``.
        network: whose weights are stored.
        config: further keys of ``config.json``.

    Returns:
        The model's folder.
    """
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    export_safetensors(network, folder / weights.FILE)
    facts = {"family": "lidar_tokenizer", "dtype": "float32", "license": "Apache-2.0", **(config or {})}
    (folder / weights.CONFIG).write_text(json.dumps(facts), encoding="utf-8")
    (folder / weights.CARD).write_text(CARD, encoding="utf-8")
    patch.setattr(weights, "FOLDER", root)
    return folder
