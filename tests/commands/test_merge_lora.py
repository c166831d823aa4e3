from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cosmos_lidar.cli import main
from cosmos_lidar.models.dit.lora import add_lora
from cosmos_lidar.models.dit.lora_files import save_lora
from cosmos_lidar.models.dit.weights import load_dit_weights
from tests.models.dit.test_lora import network, output, randomize


@torch.no_grad()
def test_adapters_are_merged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, rain, out = tmp_path / "base.pt", tmp_path / "rain", tmp_path / "merged.safetensors"
    torch.save(network().state_dict(), base)
    adapted = add_lora(network(), 4, 8.0)
    randomize(adapted)
    save_lora(adapted, rain)
    assert main(["merge-lora", str(base), str(rain), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: 20 layers merged\n"
    merged = network()
    load_dit_weights(merged, out)
    assert torch.allclose(output(merged), output(adapted), atol=1e-5)
    assert main(["merge-lora", str(base), str(tmp_path), "--out", str(out)]) == 2
    assert "adapter_config.json" in capsys.readouterr().err
