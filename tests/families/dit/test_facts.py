"""A diffusion transformer takes the shapes of its latents and text from the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("megatron.energon")

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.dit.facts import latents_facts, shape_facts
from cosmos_lidar.recipes import dit
from cosmos_lidar.shards.files import write_tar
from cosmos_lidar.shards.latents import LATENT, LATENTS, TEXT, LatentsFacts, array_bytes
from cosmos_lidar.shards.manifest import index_with_energon
from cosmos_lidar.shards.sweeps import PackedRun
from cosmos_lidar.training.overrides import apply_overrides


def latents(folder: Path, shape: tuple[int, ...], text: tuple[int, ...] = ()) -> Path:
    folder.mkdir()
    parts = {LATENT: array_bytes(np.zeros(shape, np.float16)), "meta.json": b"{}"}
    parts |= {TEXT: array_bytes(np.zeros(text, np.float16))} if text else {}
    write_tar(folder / "train-000000.tar", [PackedRun("a_0", parts, 1, 0)])
    index_with_energon(folder, ["train-000000.tar"], sample_type="latents")
    return folder


def test_shapes_and_where_they_are_from(tmp_path: Path) -> None:
    bare, other = latents(tmp_path / "bare", (16, 2, 4, 6), (5, 7)), latents(tmp_path / "other", (16, 2, 4, 6), (5, 7))
    (other / LATENTS).write_text('{"canvas": {"views": 2}}')
    run = apply_overrides(dit.debug(), [f"data.path={bare},{other}"])
    found, where = latents_facts(run.data)
    assert where == other / LATENTS  # the file that says it, not the first folder
    facts = shape_facts(found, where)
    assert {key: fact.value for key, fact in facts.items()} == {
        "data.latent_shape": [16, 2, 4, 6], "data.text_shape": [5, 7]
    }  # fmt: skip
    assert {key: fact.value for key, fact in run.data_facts().items()} == {
        "data.latent_shape": [16, 2, 4, 6], "data.text_shape": [5, 7], "model.n_views": 3
    }  # fmt: skip
    assert latents_facts(apply_overrides(dit.debug(), [f"data.path={bare}"]).data)[1] == bare


def test_without_text_there_is_none() -> None:
    facts = shape_facts(LatentsFacts((16, 2, 4, 6), None, None, {}), Path())
    assert facts["data.text_shape"].value == []
    assert shape_facts(LatentsFacts(None, None, None, {}), Path()) == {}


def test_folders_that_differ_or_are_not_there(tmp_path: Path) -> None:
    one, other = latents(tmp_path / "one", (16, 2, 4, 6)), latents(tmp_path / "two", (16, 3, 4, 6))
    with pytest.raises(UserError, match="latents differ in latent.npy"):
        latents_facts(apply_overrides(dit.debug(), [f"data.path={one},{other}"]).data)
    with pytest.raises(DataError, match="no such folder"):
        latents_facts(apply_overrides(dit.debug(), [f"data.path={tmp_path / 'absent'}"]).data)
