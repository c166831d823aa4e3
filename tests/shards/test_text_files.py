"""Files of text embeddings: every published form, what is refused, and that nothing in them is executed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.shards.text_files import (
    ONE,
    TextStore,
    find_embedding,
    read_embedding,
    read_npy_embedding,
    text_key,
    write_embeddings,
)

ROWS = np.random.default_rng(0).normal(size=(7, 16)).astype(np.float16)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("form", ["array", "list", "3-D", "list of 3-D"])
@pytest.mark.parametrize("suffix", [".pkl", ".pickle"])
def test_published_pickles(tmp_path: Path, dtype: type, protocol: int, form: str, suffix: str):
    rows = ROWS.astype(dtype)
    content = {"array": rows, "list": [rows], "3-D": rows[None], "list of 3-D": [rows[None]]}[form]
    path = tmp_path / f"clip{suffix}"
    path.write_bytes(pickle.dumps(content, protocol))
    found = read_embedding(path)
    assert found.dtype == dtype
    assert np.array_equal(found, rows)


class _Evil:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("inside", [False, True])
def test_a_malicious_pickle_is_refused_and_nothing_in_it_runs(tmp_path: Path, inside: bool):
    evil = _Evil(tmp_path / "executed")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([ROWS, evil] if inside else evil))
    with pytest.raises(DataError, match=r"refers to (posix|nt)\.mkdir.*x\.pkl") as caught:
        read_embedding(tmp_path / "x.pkl")
    assert "float16 or float32" in str(caught.value)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([ROWS, ROWS], "a list of 2"),
        (ROWS.astype(np.float64), "it holds a float64"),
        (np.zeros((2, 3, 4), np.float32), r"an array of shape \(2, 3, 4\)"),
        (np.zeros(4, np.float32), r"an array of shape \(4,\)"),
        (np.full((2, 4), np.nan, np.float32), "NaN"),
        ({"a": ROWS}, "it holds a dict"),
        ("text", "it holds a str"),
    ],
)
def test_pickles_of_other_things(tmp_path: Path, content: object, message: str):
    (tmp_path / "x.pickle").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=message):
        read_embedding(tmp_path / "x.pickle")


def test_cut_files_and_other_endings(tmp_path: Path):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(ROWS)[:-20])
    (tmp_path / "x.pt").write_bytes(b"")
    (tmp_path / "x.safetensors").write_bytes(b"no")
    for name, message in (("x.pkl", "x.pkl"), ("x.pt", "a file ending in .pt"), ("x.safetensors", "x.safetensors")):
        with pytest.raises(DataError, match=message):
            read_embedding(tmp_path / name)
    with pytest.raises(DataError, match=r"key front.text.npy"):
        read_npy_embedding(b"broken", "front.text.npy")


def test_safetensors_come_first(tmp_path: Path):
    assert find_embedding(tmp_path / "clip.1") is None
    (tmp_path / "clip.1.pickle").write_bytes(pickle.dumps([ROWS]))
    assert find_embedding(tmp_path / "clip.1") == tmp_path / "clip.1.pickle"
    write_embeddings(tmp_path / "clip.1.safetensors", {ONE: ROWS}, {"encoder": "tiny"})
    assert find_embedding(tmp_path / "clip.1") == tmp_path / "clip.1.safetensors"
    assert np.array_equal(read_embedding(tmp_path / "clip.1.safetensors"), ROWS)


def test_a_store_finds_embeddings_by_their_text(tmp_path: Path):
    write_embeddings(tmp_path / "text.safetensors", {text_key("rain"): ROWS}, {"encoder": "tiny"})
    store = pickle.loads(pickle.dumps(TextStore(tmp_path / "text.safetensors")))  # noqa: S301 (written here)
    assert torch.equal(store.get(text_key("rain")), torch.from_numpy(ROWS))
    assert store.get(text_key("Rain")) is None
    assert list(store) == [text_key("rain")]
    assert store.shape(text_key("rain")) == (7, 16)
    assert store.facts() == {"encoder": "tiny"}
    empty = TextStore(tmp_path / "none.safetensors")
    assert empty.get("x") is None
    assert (list(empty), empty.facts()) == ([], {})
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    with pytest.raises(DataError, match="not a safetensors file"):
        TextStore(tmp_path / "bad.safetensors").get("x")
