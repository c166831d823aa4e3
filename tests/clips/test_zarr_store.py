"""Zarr stores against zarr itself; codecs that run code, sizes that are promised and damage are refused."""

from __future__ import annotations

import json
import lzma
import pickle
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips.zarr_store import METADATA, open_store
from cosmos_lidar.errors import DataError

cbor2 = pytest.importorskip("cbor2", reason="extra ncore is not installed")
stores = pytest.importorskip("ncore.impl.data.stores", reason="extra ncore is not installed")
zarr = pytest.importorskip("zarr")
numcodecs = pytest.importorskip("numcodecs")

ARRAYS = {
    "whole": (np.arange(24, dtype=np.uint16).reshape(4, 6), (4, 6)),
    "parts": (np.random.default_rng(0).random((5, 7)).astype(np.float32), (2, 3)),
    "long": (np.arange(1000) * 10**15, (1000,)),
    "flags": (np.arange(9) % 2 == 0, (4,)),
    "empty": (np.zeros((0, 3), np.float32), (1, 3)),
}


def write(path: Path, **more: dict) -> Path:
    """A store with arrays in the group ``data``; ``more`` are keyword arguments of further ones."""
    itar = path.suffix == ".itar"
    store = stores.IndexedTarStore(path, mode="w") if itar else zarr.storage.DirectoryStore(path)
    root = zarr.group(store=store)
    root.attrs.put({"version": "v4"})
    group = root.create_group("data")
    for name, (array, chunks) in ARRAYS.items():
        group.create_dataset(name, data=array, chunks=chunks, compressor=numcodecs.Blosc(cname="lz4"))
    group.create_dataset("image", data=np.asarray(b"JPEG\0\0"), compressor=None).attrs["format"] = "jpeg"
    for name, options in more.items():
        group.create_dataset(name, **options)
    stores.consolidate_compressed_metadata(store)
    store.close()
    return path


@pytest.mark.parametrize("name", ["a.zarr.itar", "a.zarr"])
def test_arrays_and_attributes_are_those_of_zarr(tmp_path, name):
    store = open_store(write(tmp_path / name))
    for array, (given, _) in ARRAYS.items():
        got = store.array(f"data/{array}")
        assert (got.dtype, got.shape) == (given.dtype, given.shape)
        assert np.array_equal(got, given)
        assert store.shape(f"data/{array}") == given.shape
    assert store.array("data/image").tobytes().startswith(b"JPEG")
    assert store.attributes("data/image") == {"format": "jpeg"}
    assert (store.attributes(""), store.attributes("nothing")) == ({"version": "v4"}, {})
    assert set(store.children("data")) == {*ARRAYS, "image"}
    assert (store.children(""), store.children("nothing")) == (["data"], [])
    assert store.has_array("data/whole")
    assert not store.has_array("data")


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_pickles_in_arrays_are_not_run(tmp_path):
    trap, marker = np.empty(1, object), tmp_path / "executed"
    trap[0] = Hostile(marker)
    options = {"data": trap, "object_codec": numcodecs.Pickle(), "compressor": None}
    store = open_store(write(tmp_path / "a.zarr", trap=options))
    with pytest.raises(DataError, match=r"filters .*pickle.*key data/trap.*no filters"):
        store.array("data/trap")
    assert not marker.exists()
    pickle.loads(pickle.dumps(trap[0]))
    assert marker.exists()  # the trap works


def rewrite(path: Path, key: str, **changes: object) -> Path:
    """Change the description of an array in the consolidated metadata of a folder."""
    document = cbor2.loads(lzma.decompress((path / METADATA).read_bytes()))
    document["metadata"][key].update(changes)
    (path / METADATA).write_bytes(lzma.compress(cbor2.dumps(document)))
    return path


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"shape": [10**9, 10**9]}, "an array of shape .* would take"),
        ({"chunks": [10**9, 10**9]}, "would take"),
        ({"shape": [10**6, 6], "chunks": [1, 1]}, "6000000 chunks"),
        ({"chunks": [0, 6]}, "chunks"),
        ({"chunks": [4]}, "chunks"),
        ({"shape": "4x6"}, "shape '4x6'"),
        ({"shape": [-4, 6]}, "shape"),
        ({"dtype": "|O"}, "dtype"),
        ({"dtype": ">u2"}, "dtype"),
        ({"dtype": [["a", "<u2"]]}, "dtype"),
        ({"dtype": "<u4"}, "for 48.*a chunk of 96 bytes"),
        ({"compressor": {"id": "pickle"}}, "compressor 'pickle'"),
        ({"compressor": {"id": "zlib"}}, "compressor 'zlib'"),
        ({"compressor": None}, "a chunk of 48 bytes"),
        ({"filters": [{"id": "delta"}]}, "filters"),
        ({"order": "F"}, "order 'F'"),
    ],
)
def test_hostile_descriptions_are_refused(tmp_path, changes, found):
    store = open_store(rewrite(write(tmp_path / "a.zarr"), "data/whole/.zarray", **changes))
    with pytest.raises(DataError, match=found) as caught:
        store.array("data/whole")
    assert caught.value.key.startswith("data/whole")
    assert np.array_equal(store.array("data/long"), ARRAYS["long"][0])


def test_blosc_that_promises_more_than_the_chunk_is_refused(tmp_path):
    path = write(tmp_path / "a.zarr")
    chunk = path / "data" / "whole" / "0.0"
    whole = chunk.read_bytes()
    for wreck in (whole[:4] + struct.pack("<I", 1 << 31) + whole[8:], whole[:20], b"", whole + b"more"):
        chunk.write_bytes(wreck)
        with pytest.raises(DataError, match=r"Blosc.*key data/whole/0\.0"):
            open_store(path).array("data/whole")


def test_metadata_that_unpack_to_more_than_the_limit_are_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.zarr")
    (path / METADATA).write_bytes(lzma.compress(bytes(50_000_000)))
    monkeypatch.setattr("cosmos_lidar.bounds.LARGEST_ITEM", 1_000_000)
    with pytest.raises(DataError, match=r"the metadata of a store would take .*zmetadata"):
        open_store(path)


@pytest.mark.parametrize("document", [[], {}, {"metadata": []}, {"metadata": {}, "zarr_consolidated_format": 2}, "x"])
def test_other_metadata_are_refused(tmp_path, document):
    path = write(tmp_path / "a.zarr")
    (path / METADATA).write_bytes(lzma.compress(cbor2.dumps(document)))
    with pytest.raises(DataError, match="no consolidated metadata"):
        open_store(path)
    (path / METADATA).write_bytes(lzma.compress(json.dumps(document).encode())[:-9])
    with pytest.raises(DataError, match="not readable"):
        open_store(path)


def test_names_do_not_lead_out_of_a_store(tmp_path):
    path = write(tmp_path / "a.zarr")
    document = cbor2.loads(lzma.decompress((path / METADATA).read_bytes()))
    entry = {**document["metadata"]["data/whole/.zarray"], "compressor": None, "dtype": "|u1", "shape": [48]}
    document["metadata"]["../secret/.zarray"] = {**entry, "chunks": [48]}
    (path / METADATA).write_bytes(lzma.compress(cbor2.dumps(document)))
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "0").write_bytes(bytes(48))
    with pytest.raises(DataError, match="leads out of the store"):
        open_store(path).array("../secret")


def test_damaged_files_are_refused_or_read(tmp_path):
    path = write(tmp_path / "a.zarr.itar")
    whole, rng = path.read_bytes(), np.random.default_rng(2)
    for size in (0, 511, len(whole) // 2, len(whole) - 512):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"a\.zarr\.itar"):
            open_store(path)
    for _ in range(100):
        wreck = bytearray(whole)
        for place in rng.integers(0, len(whole), 30):
            wreck[place] = rng.integers(256)
        path.write_bytes(wreck)
        with suppress(DataError):
            store = open_store(path)
            for name, (array, _chunks) in ARRAYS.items():
                with suppress(DataError):
                    assert store.array(f"data/{name}").shape == array.shape
    with pytest.raises(DataError, match="cannot be read"):
        open_store(tmp_path / "nothing.zarr")
