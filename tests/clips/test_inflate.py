from __future__ import annotations

import gzip
import importlib
import sys
import zlib

import numpy as np
import pytest

from cosmos_lidar.clips import inflate

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
