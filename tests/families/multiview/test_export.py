"""The layout of the published trainer, with weights, EMA and buffers, and the pointer that is written last."""

from __future__ import annotations

from pathlib import Path

import torch

from cosmos_lidar.families.multiview.export import export_weights
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.lora import add_lora
from cosmos_lidar.models.dit.lora_files import read_adapter
from cosmos_lidar.models.dit.weights import load_dit_weights

NAME = "predict2_debug_multiview"


def test_files_of_the_published_trainer_load(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = build_dit(NAME).state_dict()
    average = {name: tensor + 1 for name, tensor in weights.items()}
    paths = export_weights(weights, average, tmp_path, 500)
    model = tmp_path / "published" / "model" / "iter_000000500.pt"
    pointer = tmp_path / "published" / "latest_checkpoint.txt"
    assert paths[-2:] == [model, pointer]
    assert pointer.read_text() == "iter_000000500.pt\n"
    assert pointer.stat().st_mtime_ns >= model.stat().st_mtime_ns
    state = torch.load(model, weights_only=True)
    names = {name for name in state if name.startswith("net.")}
    assert len(names) == len(weights) + 4 + 3 * 7  # counters, and a table of positions for each number of cameras
    assert "net.pos_embedder_options.n_cameras_3.seq" in names
    for ema, wanted in ((False, weights), (True, average)):
        network = build_dit(NAME)
        load_dit_weights(network, model, ema)
        assert all(torch.equal(tensor, wanted[name]) for name, tensor in network.state_dict().items())


def test_adapters_alone_are_exported_alone(tmp_path: Path) -> None:
    state = add_lora(build_dit(NAME), 2, 4.0).state_dict()
    adapters = {name: tensor for name, tensor in state.items() if ".lora_" in name}
    paths = export_weights(adapters, {}, tmp_path, 5)
    assert read_adapter(tmp_path / "iter_000000005_reg_lora").alpha == 4.0
    assert len(paths) == 2
