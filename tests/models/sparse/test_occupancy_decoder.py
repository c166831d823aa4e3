from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cosmos_lidar.models.sparse.neighbors import Neighbors
from cosmos_lidar.models.sparse.occupancy_decoder import OccupancyDecoder
from tests.models.sparse.published import wave_weights

VECTORS = np.load(Path(__file__).parents[2] / "vectors" / "occupancy.npz")


def published_decoder() -> OccupancyDecoder:
    decoder = OccupancyDecoder(latent_size=16)
    wave_weights(decoder)
    return decoder


@pytest.mark.parametrize("kind", ["E", "E_col"])
def test_published_logits(kind: str) -> None:
    latents, positions, queries = (torch.from_numpy(VECTORS[f"E_{name}"]) for name in ("latents", "pos", "q_pos"))
    pairs = Neighbors(*torch.from_numpy(VECTORS[f"{kind}_edges"]))
    with torch.no_grad():
        found = published_decoder()(latents, positions, queries, pairs)
    wanted = torch.from_numpy(VECTORS[f"{kind}_pred"])
    torch.testing.assert_close(found[:, 0], wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


def test_names_of_the_published_parameters() -> None:
    shapes = {name: tuple(value.shape) for name, value in OccupancyDecoder().state_dict().items()}
    assert shapes == {
        "fc_in.weight": (128, 131), "fc_in.bias": (128,), "fc_out.weight": (2, 128), "fc_out.bias": (2,),
        "mlp_layers.0.weight": (128, 128), "mlp_layers.0.bias": (128,),
        "mlp_layers.1.weight": (128, 128), "mlp_layers.1.bias": (128,),
    }  # fmt: skip
