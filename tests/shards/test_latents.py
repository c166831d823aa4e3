"""Samples of latents and what is known of a folder of them before it is read: shapes, canvas, tokenizers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("megatron.energon")

from cosmos_lidar.arrays import read_npy
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.shards.files import write_tar
from cosmos_lidar.shards.latents import (
    LATENT,
    LATENTS,
    RAYS,
    TEXT,
    array_bytes,
    half_bytes,
    pack_canvas,
    read_latents_facts,
)
from cosmos_lidar.shards.manifest import index_with_energon
from cosmos_lidar.shards.sources import resolve
from cosmos_lidar.shards.sweeps import PackedRun


def folder(root: Path, parts: dict[str, bytes], document: Any = None) -> Path:
    root.mkdir(parents=True)
    write_tar(root / "train-000000.tar", [PackedRun(f"a_{n}", parts | {"meta.json": b"{}"}, 1, 0) for n in range(2)])
    index_with_energon(root, ["train-000000.tar"], sample_type="latents")
    if document is not None:
        (root / LATENTS).write_text(document if isinstance(document, str) else json.dumps(document))
    return root


def facts(*folders: Path) -> Any:
    return read_latents_facts(resolve(",".join(map(str, folders)), "train"))


def latents(shape: tuple[int, ...] = (4, 2, 6, 8)) -> dict[str, bytes]:
    return {LATENT: array_bytes(np.zeros(shape, np.float16))}


def test_a_canvas_is_stored_in_half_precision() -> None:
    canvas, rays = torch.randn(4, 3, 6, 8), np.random.default_rng(0).normal(size=(3, 3, 4, 6))
    parts = pack_canvas(canvas, rays)
    assert list(parts) == [LATENT, RAYS]
    for name, given in ((LATENT, canvas.numpy()), (RAYS, rays)):
        stored = read_npy(parts[name])
        assert stored.dtype == np.float16
        assert np.allclose(stored, given, rtol=2**-11, atol=1e-6)
    assert list(pack_canvas(canvas, None)) == [LATENT]
    assert read_npy(half_bytes(np.arange(5))).tolist() == [0, 1, 2, 3, 4]
    assert read_npy(array_bytes(np.arange(5, dtype=np.int64))).dtype == np.int64


def test_shapes_come_from_the_first_sample(tmp_path: Path) -> None:
    parts = latents() | {TEXT: half_bytes(np.zeros((5, 7))), RAYS: half_bytes(np.zeros((2, 3, 4, 6)))}
    found = facts(folder(tmp_path / "a", parts, {"cameras": ["front"]}))
    assert (found.latent, found.text, found.rays) == ((4, 2, 6, 8), (5, 7), (2, 3, 4, 6))
    assert found.document == {"cameras": ["front"]}
    bare = facts(folder(tmp_path / "b", latents()))
    assert (bare.latent, bare.text, bare.rays, bare.document) == ((4, 2, 6, 8), None, None, {})


def test_a_first_sample_that_is_broken_leaves_the_shapes_open(tmp_path: Path, caplog) -> None:
    found = facts(folder(tmp_path / "a", {LATENT: b"\x93NUMPY"}, {"canvas": {"views": 1}}))
    assert (found.latent, found.document) == (None, {"canvas": {"views": 1}})
    assert "latent.npy of the first sample cannot be read" in caplog.text


@pytest.mark.parametrize("key", ["canvas", "lidar_weights", "lidar_mean_std", "image_weights", "image_mean_std"])
def test_folders_of_other_tokenizers_are_not_mixed(tmp_path: Path, key: str) -> None:
    first = folder(tmp_path / "a", latents(), {key: "1", "cameras": ["front"]})
    assert facts(first, folder(tmp_path / "same", latents(), {key: "1", "cameras": ["left"]})).latent
    assert facts(first, folder(tmp_path / "unknown", latents())).document[key] == "1"
    with pytest.raises(UserError, match=rf"latents differ in {key}: 1 in .*a, 2 in .*other"):
        facts(first, folder(tmp_path / "other", latents(), {key: "2"}))


def test_folders_of_other_shapes_are_not_mixed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"latents differ in latent.npy: \(4, 2, 6, 8\) in .*\(4, 1, 6, 8\)"):
        facts(folder(tmp_path / "a", latents()), folder(tmp_path / "b", latents((4, 1, 6, 8))))


@pytest.mark.parametrize(("text", "message"), [("{", "cannot be read"), ("[1]", "not a mapping")])
def test_a_broken_document_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"{message}.*latents.json.*encode-views"):
        facts(folder(tmp_path / "a", latents(), text))
