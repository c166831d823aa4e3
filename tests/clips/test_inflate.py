from __future__ import annotations

import gzip
import importlib
import sys
import zlib

import numpy as np
import pytest

from cosmos_lidar.clips import inflate
from cosmos_lidar.errors import DataError

CONTENT = np.random.default_rng(0).integers(0, 9, 50_000).astype(np.uint8).tobytes()


@pytest.fixture(params=["isal", "zlib"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """The module with ISA-L and without."""
    if request.param == "isal":
        pytest.importorskip("isal")
    else:
        monkeypatch.setitem(sys.modules, "isal", None)
    yield importlib.reload(inflate)
    monkeypatch.undo()
    importlib.reload(inflate)


@pytest.mark.parametrize("kind", ["zlib", "gzip"])
def test_no_more_is_unpacked_than_is_asked_for(engine, kind: str) -> None:
    packed = zlib.compress(CONTENT) if kind == "zlib" else gzip.compress(CONTENT)
    one = engine.decompressor(engine.ZLIB if kind == "zlib" else engine.GZIP)
    found = one.decompress(packed, 100)
    assert found == CONTENT[:100]
    while not one.eof:
        found += one.decompress(one.unconsumed_tail, 9000)
    assert found == CONTENT


@pytest.mark.parametrize("damage", ["header", "middle", "checksum"])
def test_damage_raises_what_readers_catch(engine, damage: str) -> None:
    packed = bytearray(zlib.compress(CONTENT))
    place = {"header": 0, "middle": len(packed) // 2, "checksum": -1}[damage]
    packed[place] ^= 0xFF
    one = engine.decompressor()
    with pytest.raises(engine.INFLATE_ERRORS):
        one.decompress(bytes(packed), 2 * len(CONTENT))


def test_what_is_cut_off_has_no_end(engine) -> None:
    one = engine.decompressor()
    one.decompress(zlib.compress(CONTENT)[:-5], 2 * len(CONTENT))
    assert not one.eof


def test_a_stream_gives_what_was_packed(engine, tmp_path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"first\nsecond" + 40 * CONTENT))
    with (tmp_path / "a.gz").open("rb") as file:
        stream = engine.InflatedStream(file, 1 << 22, engine.GZIP)
        assert (stream.readline(), stream.read(6)) == (b"first\n", b"second")
        assert b"".join(iter(lambda: stream.read(77_777), b"")) == 40 * CONTENT
        assert stream.readline() == b""


@pytest.mark.parametrize("damage", ["cut off", "checksum", "larger"])
def test_a_stream_that_is_broken_is_refused(engine, damage: str, tmp_path) -> None:
    packed = bytearray(gzip.compress(CONTENT))
    packed = packed[:-9] if damage == "cut off" else packed
    packed[-6] ^= damage == "checksum"
    (tmp_path / "a.gz").write_bytes(packed)
    wanted = (*engine.INFLATE_ERRORS, EOFError, DataError)
    with (tmp_path / "a.gz").open("rb") as file:
        stream = engine.InflatedStream(file, 100 if damage == "larger" else 1 << 20, engine.GZIP)
        with pytest.raises(wanted):
            stream.finish()
