"""Tars of recordings and shards: what is left out, and headers that ask for more than there is."""

from __future__ import annotations

import io
import logging
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cosmos_lidar.bounds import ENVIRONMENT
from cosmos_lidar.errors import DataError
from cosmos_lidar.tars import BROKEN_TAR, DataTarInfo, open_tar

SPARSE = tarfile.GNUTYPE_SPARSE


def plain(name: str, content: bytes = b"content") -> bytes:
    """Return a member, header and padding included."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member.tobuf(tarfile.GNU_FORMAT) + content.ljust(512, b"\0")


def header(name: str, type: bytes, size: int = 0, edit: Callable[[bytearray], None] | None = None) -> bytes:
    """Return the header of a member of a type, changed by hand, with its checksum."""
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = type, max(size, 0), "/etc/passwd" if type in b"12" else ""
    found = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    if size < 0:
        found[124:136] = b"\xff" * 4 + size.to_bytes(8, "big", signed=True)
    if edit is not None:
        edit(found)
    found[148:156] = b" " * 8
    found[148:156] = b"%06o\0 " % sum(found)
    return bytes(found)


def sparse(real: int) -> bytes:
    """Return a sparse member of 512 bytes that unpacks to ``real``."""

    def edit(found: bytearray) -> None:
        found[386:398], found[398:410], found[482] = b"%011o\0" % 0, b"%011o\0" % 512, 0
        found[483:495] = b"\x80" + real.to_bytes(11, "big")

    return header("sparse.npz", SPARSE, 512, edit) + b"A" * 512


def written(path: Path, *members: bytes) -> Path:
    path.write_bytes(b"".join(members) + bytes(1024))
    return path


LEFT_OUT = {
    "a symbolic link": header("x", tarfile.SYMTYPE),
    "a hard link": header("x", tarfile.LNKTYPE),
    "a device": header("x", tarfile.CHRTYPE),
    "a FIFO": header("x", tarfile.FIFOTYPE),
    "a sparse file": sparse(900 * 10**9),
}


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_what_is_no_plain_file_is_named_and_left_out(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(
        tmp_path / "x.tar", plain("a"), LEFT_OUT[kind], header("folder", tarfile.DIRTYPE), plain("b", b"more")
    )
    for _ in range(2):
        with caplog.at_level(logging.WARNING, "cosmos_lidar"), open_tar(path) as tar:
            found = {member.name: tar.read(member) for member in tar.members()}
        assert found == {"a": b"content", "b": b"more"}
        assert len(tar.left_out) == 1
        assert tar.left_out[0].endswith(f": {kind}")
        assert tar.end == path.stat().st_size - 1024
    assert len(caplog.messages) == 1  # once for each file
    assert f"x.tar: left out, no plain files: {tar.left_out[0]}" in caplog.text


@pytest.mark.parametrize(
    "member",
    [
        header("long", tarfile.GNUTYPE_LONGNAME, 900 * 10**9),
        header("pax", tarfile.XHDTYPE, 2 * 10**12),
        header("pax", tarfile.XGLTYPE, -512),
        header("back", tarfile.REGTYPE, -1024),  # leads back to the first member, for ever
        header("huge", tarfile.REGTYPE, 2 * 10**12),
        header("x", tarfile.XHDTYPE, 14) + b"14 size=-1024\n".ljust(512, b"\0") + header("y", tarfile.REGTYPE, 7),
        header("x", tarfile.XHDTYPE, 18) + b"18 size=999999999\n".ljust(512, b"\0") + header("y", tarfile.REGTYPE, 7),
    ],
)
def test_headers_that_ask_for_more_than_there_is(member: bytes, tmp_path: Path) -> None:
    path = written(tmp_path / "x.tar", plain("a"), member, plain("b"))
    met: list[str] = []

    def walk() -> None:
        with open_tar(path) as tar:
            for one in tar.members():
                met.append(one.name)
                assert len(met) < 5

    with pytest.raises(BROKEN_TAR):
        walk()
    assert "b" not in met


def test_a_member_above_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "x.tar", plain("a", b"x" * 400))
    with open_tar(path) as tar:
        (member,) = tar.members()
        with pytest.raises(
            DataError, match=r"a member would take 400 B \[file .*x.tar, key a\] Expected: at most 100 B"
        ):
            tar.read(member, limit=100)
        monkeypatch.setenv(ENVIRONMENT, "400B")
        assert len(tar.read(member, limit=100)) == 400


def test_energon_leaves_out_the_same(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    content = plain("a") + sparse(900 * 10**9) + header("x", tarfile.SYMTYPE) + bytes(1024)
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:", tarinfo=DataTarInfo) as tar:
        assert [member.isfile() for member in tar.getmembers()] == [True, False, False]
        assert "left out: sparse.npz, a sparse file that unpacks to 900.0 GB" in caplog.text
        monkeypatch.setattr("cosmos_lidar.bounds.LARGEST_ITEM", 5)
        assert not tar.getmembers()[0].isfile()
        assert "left out: a, a file of 7 B" in caplog.text
