from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from cosmos_lidar.errors import DataError
from cosmos_lidar.latents.cache import LatentCache, frames_hash, latent_key, weights_hash
from cosmos_lidar.models.tokenizer import build_tokenizer

# --- the cache


def test_what_the_name_of_an_entry_depends_on():
    frames = np.arange(5 * 4 * 4 * 3, dtype=np.uint8).reshape(5, 4, 4, 3)
    assert frames_hash(frames) == frames_hash(iter([frames[:2], frames[2:]]))
    other = frames.copy()
    other[3, 1, 2, 0] += 1
    assert len({frames_hash(x) for x in (frames, other, frames[:4], frames.reshape(5, 2, 8, 3))}) == 4
    network = build_tokenizer("CI8x8", channels=32)
    before = weights_hash(network)
    with torch.no_grad():
        next(network.parameters()).flatten()[0].add_(1e-3)
    assert weights_hash(network) != before
    keys = [latent_key("a", "b"), latent_key("b", "a"), latent_key("a", "b", dtype="x"), latent_key("a", "b", tile=1)]
    assert len(set(keys)) == 4


def test_entries_come_back_and_damage_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    cache, made = LatentCache(tmp_path), []

    def make() -> dict[str, torch.Tensor]:
        made.append(1)
        return {"latents": torch.arange(6.0).reshape(2, 3).bfloat16(), "sizes": torch.tensor([1, 2])}

    first = cache.get_or_make("ab12", make)
    again = LatentCache(tmp_path).get_or_make("ab12", make)
    assert len(made) == 1
    assert all(torch.equal(first[name], again[name]) for name in first)
    (path,) = tmp_path.rglob("*.safetensors")
    for damaged in (path.read_bytes()[:-1], path.read_bytes()[:-1] + b"\x7f", b""):
        path.write_bytes(damaged)
        caplog.clear()
        assert cache.get("ab12") is None
        assert not path.exists()
        assert "is damaged" in caplog.text
        cache.put("ab12", make())
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == {"latents", "sizes"}


def test_the_oldest_go_beyond_the_limit(tmp_path: Path):
    cache = LatentCache(tmp_path, limit_bytes=10_000)
    for number in range(4):
        cache.put(f"{number}{number}", {"x": torch.zeros(1000)})
        (path,) = (tmp_path / f"{number}{number}").glob("*.safetensors")
        os.utime(path, (number, number))
    assert sorted(path.parent.name for path in tmp_path.rglob("*.safetensors")) == ["22", "33"]


def test_many_writers_of_one_entry(tmp_path: Path):
    tensors = {"x": torch.arange(20_000)}
    code = f"""
import torch
from cosmos_lidar.latents.cache import LatentCache
for _ in range(30): LatentCache({str(tmp_path)!r}).put("ab", {{"x": torch.arange(20_000)}})
"""
    others = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    cache = LatentCache(tmp_path)
    cache.put("ab", tensors)
    while any(other.poll() is None for other in others):
        assert torch.equal(cache.get("ab")["x"], tensors["x"])
    assert not [other for other in others if other.returncode]
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".safetensors"]


def test_a_folder_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot write"):
        LatentCache(tmp_path / "file").put("ab", {"x": torch.zeros(1)})
