"""Members of a zip read in place: what Python's zipfile gives; compressed, encrypted and damaged ones refused."""

from __future__ import annotations

import io
import pickle
import zipfile

import pytest

from cosmos_lidar.clips.spans import FileSpan, zip_members
from cosmos_lidar.errors import DataError

CONTENTS = {"a.bin": bytes(range(256)) * 3, "folder/b.bin": b"second", "empty": b""}


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "chunk.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name, content in CONTENTS.items():
            file.writestr(name, content)
        file.mkdir("folder")
    return path


def test_members_are_read_in_place(archive):
    spans = {span.member: span for span in zip_members(archive)}
    assert {name: span.read("a member") for name, span in spans.items()} == CONTENTS
    assert pickle.loads(pickle.dumps(spans["a.bin"])).read("a member") == CONTENTS["a.bin"]
    assert FileSpan(archive).read("a file") == archive.read_bytes()


def test_members_seek_like_files(archive):
    span = next(iter(zip_members(archive)))
    with span.open() as stream, io.BytesIO(CONTENTS["a.bin"]) as plain:
        for offset, whence, size in ((-5, 2, 9), (10, 0, 7), (3, 1, 2), (0, 2, 4), (9999, 0, 1), (0, 0, -1)):
            assert stream.seek(offset, whence) == plain.seek(offset, whence)
            assert stream.read(size) == plain.read(size)
        with pytest.raises(ValueError, match="seek"):
            stream.seek(-1)


def test_compressed_members_are_refused_when_read(tmp_path):
    path = tmp_path / "packed.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.bin", bytes(1 << 20))
    (span,) = zip_members(path)
    with pytest.raises(DataError, match=r"a compressed member \(method 8\).*packed\.zip, .*key a\.bin.*unpacked"):
        span.open()


def test_large_members_are_refused(archive):
    with pytest.raises(DataError, match=r"a table would take 768 B.*chunk\.zip.*a\.bin"):
        next(iter(zip_members(archive))).read("a table", limit=100, clip="c")


def test_damaged_zips_are_refused(archive, tmp_path):
    whole, path = archive.read_bytes(), tmp_path / "broken.zip"
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="not a readable zip"):
            zip_members(path)
    spans = zip_members(archive)
    archive.write_bytes(b"XX" + whole[2:])
    with pytest.raises(DataError, match="no member starts where"):
        spans[0].open()
    archive.write_bytes(whole[:60])
    with pytest.raises(DataError, match=r"\d+ of 768 bytes"):
        spans[0].open()
    archive.unlink()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        spans[0].open()
    with pytest.raises(DataError, match="no plain file|not a readable zip"):
        zip_members(tmp_path)


def test_two_members_may_not_be_one_with_two_sizes(archive):
    whole = bytearray(archive.read_bytes())
    directory = whole.index(b"PK\x01\x02")
    whole[directory + 24 : directory + 28] = (10**9).to_bytes(4, "little")  # the uncompressed size
    archive.write_bytes(whole)
    with pytest.raises(DataError, match="two sizes|expected"):
        zip_members(archive)[0].open()
