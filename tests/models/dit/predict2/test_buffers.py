from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.predict2.buffers import published_buffers
from cosmos_lidar.models.dit.weights import load_dit_weights
from tests.models.dit.predict2.reference import TINY, tiny_network


def test_weights_and_buffers_are_the_published_state() -> None:
    with torch.device("meta"):
        networks = [build_dit(name) for name in ("predict2_2b_multiview", "predict2_2b_video2world")]
    views, single = (published_buffers(network.config) for network in networks)
    assert len(networks[0].state_dict()) + len(views) == 593
    assert views["pos_embedder_options.n_cameras_7.seq"].shape == (128,)
    assert views["pos_embedder_options.n_cameras_1.dim_spatial_range"].shape == (21,)
    assert views["pos_embedder_options.n_cameras_1.dim_temporal_range"].shape == (22,)
    assert "pos_embedder.seq" in single
    assert views["accum_iteration"].dtype == torch.int64


def test_they_are_left_out_when_weights_are_read(tmp_path: Path) -> None:
    network = tiny_network()
    state = network.state_dict() | published_buffers(network.config)
    state["blocks.0.self_attn._extra_state"] = torch.zeros(3)
    trained = {f"net.{name}": value for name, value in state.items()}
    averaged = {f"net_ema.{name}": value + 1 for name, value in network.state_dict().items()}
    torch.save(trained | averaged, tmp_path / "model.pt")
    for ema in (False, True):
        other = build_dit("predict2_2b_multiview", **TINY)
        load_dit_weights(other, tmp_path / "model.pt", ema)
        wanted = {name: value + ema for name, value in network.state_dict().items()}
        assert all(torch.equal(other.state_dict()[name], value) for name, value in wanted.items())
    del trained["net.view_embeddings.weight"]
    torch.save(trained, tmp_path / "model.pt")
    with pytest.raises(DataError, match=r"1 weights missing \(\['view_embeddings.weight'\]\)"):
        load_dit_weights(other, tmp_path / "model.pt")
