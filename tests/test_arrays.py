"""Arrays in files: what is read, and what is refused before it is allocated."""

from __future__ import annotations

import io
import resource
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.arrays import npz_headers, open_npy, open_npz_member, read_npy, read_npz, row_blocks, write_npz
from cosmos_lidar.errors import DataError

ARRAYS = {
    "floats": np.arange(6, dtype="<f4").reshape(2, 3),
    "columns": np.asfortranarray(np.arange(24, dtype=">i8").reshape(2, 3, 4)),
    "texts": np.array(["a", "bc"]),
    "none": np.zeros((0, 4), np.float16),
    "one": np.array(True),
}


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def header(shape: tuple[int, ...], descr: str = "<f4", fortran: bool = False) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": fortran, "shape": shape})
    return stream.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def test_arrays_are_those_of_numpy(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", **ARRAYS)
    found = read_npz(tmp_path / "x.npz")
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        for one in (found[name], read_npy(npy(array))):
            assert one.dtype == array.dtype
            assert one.shape == array.shape
            assert np.array_equal(one, array)
    found["floats"][0, 0] = 7  # writable
    assert list(read_npz((tmp_path / "x.npz").read_bytes(), ["texts", "absent"])) == ["texts"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (header((500_000, 1_000_000)) + b"\0" * 100, r"shape \(500000, 1000000\) would take 2\.0 TB"),
        (header((1000,)) + b"\0" * 100, r"needs 4000 bytes, the file has \d+"),
        (header((1 << 62, 1 << 62, 4)), "would take"),
        (header((-1, 4)), "shape"),
        (npy(np.array([1, "a"], dtype=object)), "an array of Python objects"),
        (header((2,), "|V8") + b"\0" * 16, "an array of"),
        (header((10**12,), "<U0"), "an array of"),
        (b"\x93NUMPY\x01\x00\xff\xff{'descr':", "not a readable"),
        (b"", "not a readable"),
        (b"\x93NUMPY\x01\x00\x10\x00((((((((((((((((", "not a readable"),
    ],
)
def test_what_does_not_add_up_is_refused(content: bytes, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read_npy(content)
    with pytest.raises(DataError, match=problem):
        read_npz(zipped({"range.npy": content}))


def bomb(size: int) -> bytes:
    """Return an npz of one array of zeros, packed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("range.npy", "w", force_zip64=True) as member:
            member.write(header((size // 4,)))
            for _ in range(size >> 24):
                member.write(bytes(1 << 24))
    return stream.getvalue()


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    content = bomb(3 << 29)
    assert len(content) < 10_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"the arrays range would take 1\.6 GB.*at most 1\.1 GB"):
        read_npz(content)
    with pytest.raises(DataError, match=r"would take 1\.6 GB.*at most 1\.0 MB.*--largest-item 1\.8GB"):
        read_npz(content, limit=10**6)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KB


def test_many_arrays_count_together() -> None:
    content = zipped({f"{number}.npy": npy(np.zeros(1000)) for number in range(10)})
    with pytest.raises(DataError, match=r"would take 81\.\d KB"):
        read_npz(content, limit=50_000)
    assert list(read_npz(content, ["3"], limit=50_000)) == ["3"]


def test_other_compression_is_refused_as_it_has_no_limit() -> None:
    with pytest.raises(DataError, match="compressed by method 12.*key range"):
        read_npz(zipped({"range.npy": npy(np.zeros(3))}, zipfile.ZIP_BZIP2))


def test_a_damaged_member_is_noticed() -> None:
    content = bytearray(zipped({"range.npy": npy(np.arange(100.0))}, zipfile.ZIP_STORED))
    content[400] ^= 1
    with pytest.raises(DataError, match="Bad CRC-32"):
        read_npz(bytes(content))


def test_an_array_is_held_once(tmp_path: Path) -> None:
    """Of a file and of a member of an archive: no second copy, and nothing for bytes that are not there."""
    array = np.random.default_rng(0).normal(size=400_000)
    np.savez(tmp_path / "a.npz", data=array)
    np.save(tmp_path / "a.npy", array)
    content = (tmp_path / "a.npy").read_bytes()
    for read in (
        lambda: read_npz(tmp_path / "a.npz")["data"],
        lambda: read_npy(content),
        lambda: read_npy(tmp_path / "a.npy"),
    ):
        tracemalloc.start()
        found = read()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert np.array_equal(found, array)
        assert found.flags.writeable
        assert peak < 1.2 * array.nbytes
    with pytest.raises(DataError, match="3199900 of 3200000 bytes"):
        read_npy(content[:-100])
    (tmp_path / "a.npy").write_bytes(content[:-100])
    with pytest.raises(DataError, match=r"3199900 of 3200000 bytes.*a\.npy"):
        read_npy(tmp_path / "a.npy")


@pytest.mark.parametrize("count", [0, 1, 40_000])
def test_an_archive_is_written_as_numpy_writes_it(tmp_path, count):
    arrays = {"points": np.random.default_rng(0).random((count, 3), np.float32), "ring": np.arange(count, dtype="<u2")}
    write_npz(tmp_path / "own.npz", arrays)
    np.savez(tmp_path / "numpy.npz", **arrays)
    assert (tmp_path / "own.npz").read_bytes() == (tmp_path / "numpy.npz").read_bytes()


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_read_row_by_row(tmp_path, order):
    array = np.asarray(np.arange(700, dtype=">f8").reshape(100, 7), order=order)
    np.save(tmp_path / "a.npy", array)
    np.savez_compressed(tmp_path / "a.npz", data=array, other=np.arange(3))
    with open_npy(tmp_path / "a.npy") as found:
        assert np.array_equal(np.concatenate([part.copy() for part in row_blocks(found, 33)]), array)
    with open_npz_member(tmp_path / "a.npz", "data") as found:
        assert np.array_equal(np.concatenate([part.copy() for part in row_blocks(found, 33)]), array)
    assert npz_headers(tmp_path / "a.npz") == {"data": ((100, 7), array.dtype), "other": ((3,), np.dtype(np.int64))}
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[200] ^= 1
    (tmp_path / "broken.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.npz"), open_npz_member(tmp_path / "broken.npz", "data") as found:
        list(row_blocks(found, 33))
