"""Tokenizers by name: from disk, from the hub, and what is said when there is neither."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.tokenizer import build_tokenizer, export_jit, export_safetensors
from cosmos_lidar.models.tokenizer.pretrained import from_pretrained, is_hub_name

hub = pytest.importorskip("huggingface_hub")


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_tokenizer("CV4x8x8", channels=32, num_res_blocks=1)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_files_and_folders_of_this_disk(network: torch.nn.Module, tmp_path: Path):
    export_jit(network, tmp_path / "jit")
    export_safetensors(network, tmp_path / "x.safetensors")
    assert same(network, from_pretrained(tmp_path / "jit"))
    assert same(network, from_pretrained(str(tmp_path / "x.safetensors")))


def test_a_repository_is_asked_for_its_weights_alone(network: torch.nn.Module, tmp_path: Path, monkeypatch):
    export_jit(network, tmp_path / "snapshot")
    asked = []

    def download(name: str, allow_patterns: tuple[str, ...]) -> str:
        asked.append((name, allow_patterns))
        return str(tmp_path / "snapshot")

    monkeypatch.setattr(hub, "snapshot_download", download)
    assert same(network, from_pretrained("nvidia/Cosmos-1.0-Tokenizer-CV8x8x8"))
    ((name, patterns),) = asked
    assert name == "nvidia/Cosmos-1.0-Tokenizer-CV8x8x8"
    assert {"encoder.jit", "decoder.jit"} <= set(patterns)
    assert not [pattern for pattern in patterns if pattern.endswith(("*", ".bin", ".pkl"))]


def test_without_a_network_it_says_what_to_do(monkeypatch):
    def offline(*args: object, **kwargs: object) -> str:
        raise hub.errors.LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(hub, "snapshot_download", offline)
    with pytest.raises(DataError, match=r"not downloaded: no connection.*nvidia/X.*HF_TOKEN.*hf download nvidia/X"):
        from_pretrained("nvidia/X")


def test_a_path_is_no_repository(tmp_path: Path):
    assert is_hub_name("nvidia/Cosmos-0.1-Tokenizer-DV8x16x16")
    for name in ("/a/b", "a/b/c", "model.pt", "../x", "a b/c"):
        assert not is_hub_name(name)
    with pytest.raises(DataError, match=r"missing\.pt"):
        from_pretrained(tmp_path / "missing.pt")
