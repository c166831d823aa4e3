"""Members of tar files, read as data: plain files alone, with sizes that the file has.

Links, devices, FIFOs and sparse members are named and left out: the first three lead elsewhere, and a sparse one of a
few bytes unpacks to any number of terabytes. Headers cannot make Python allocate more than the file has.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cosmos_lidar.bounds import describe_size, expect_plain_file, expect_size, largest_item
from cosmos_lidar.errors import DataError
from cosmos_lidar.log import logger

# What a damaged tar shows itself in; ValueError and the like come from headers that hold other things than numbers.
BROKEN_TAR = (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, IndexError, KeyError, RecursionError)
_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a FIFO",
}
_HEADERS = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip
_LARGEST_HEADER = 1 << 24
_named: set[tuple[Path, int, int]] = set()  # files of which it was said what is left out: path, size, time


class DataTarInfo(tarfile.TarInfo):
    """A member whose header cannot ask for more than there is; for ``tarfile.TarFile.tarinfo``."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> DataTarInfo:
        """Read a header; sizes below zero would lead back in the file, and extended headers are read as a whole."""
        member = super().frombuf(buf, encoding, errors)
        if member.size < 0 or (member.type in _HEADERS and member.size > _LARGEST_HEADER):
            raise tarfile.ReadError(f"{member.name!r:.120}: a header of type {member.type!r}, {member.size} bytes")
        return member

    def isfile(self) -> bool:
        """Return whether this is a plain file within the limit, which Energon calls before it reads one.

        What is left out is logged here; the sample that misses it is counted as a bad one.
        """
        if not super().isfile():
            return False
        if self.sparse is None and self.size <= largest_item():
            return True
        kind = "a sparse file that unpacks to" if self.sparse is not None else "a file of"
        logger.warning("left out: %s, %s %s", self.name, kind, describe_size(self.size))
        return False


class DataTar:
    """An uncompressed tar that is open for reading; made by :func:`open_tar`.

    Attributes:
        path: of the file.
        left_out: what each skipped member is, in the order of the tar: ``name: a symbolic link``.
        end: byte after the last member that was met, with its padding.
    """

    def __init__(self, path: Path, tar: tarfile.TarFile) -> None:
        self.path, self._tar = path, tar
        self._size = path.stat().st_size
        self.left_out: list[str] = []
        self.end = 0

    def members(self) -> Iterator[tarfile.TarInfo]:
        """Yield the members that are plain files, in the order of the tar.

        Raises:
            tarfile.TarError: a damaged header, or a member that ends after the file.
            OSError: the file cannot be read; and what else is in :data:`BROKEN_TAR`.
        """
        before = -1
        while (member := self._tar.next()) is not None:
            if member.size < 0 or member.offset <= before:  # also by an extended header
                raise tarfile.ReadError(f"member {member.name!r} has the size {member.size}")
            before, self.end = member.offset, self._tar.offset
            self._tar.members = []  # type: ignore[attr-defined]  # names are not looked up: keep no list of them
            if member.isdir():
                continue
            kind = "a sparse file" if member.sparse is not None else _KINDS.get(member.type)
            if kind is None and not member.isreg():
                kind = f"of type {member.type!r}"
            if kind is not None:
                self._leave_out(member, kind)
                continue
            if member.offset_data + member.size > self._size:
                raise tarfile.ReadError(f"member {member.name!r} is cut off")
            yield member

    def read(self, member: tarfile.TarInfo, limit: int | None = None) -> bytes:
        """Return the content of a member.

        Args:
            member: of :meth:`members`.
            limit: bytes that it may have; default :data:`~cosmos_lidar.bounds.LARGEST_ITEM`.

        Raises:
            DataError: it has more.
        """
        expect_size(member.size, "a member", limit=limit, file=self.path, key=member.name)
        with self.path.open("rb", buffering=0) as file:
            file.seek(member.offset_data)
            content = file.read(member.size)
        if len(content) != member.size:
            raise tarfile.ReadError(f"member {member.name!r} is cut off")
        return content

    def _leave_out(self, member: tarfile.TarInfo, kind: str) -> None:
        self.left_out.append(f"{member.name!r:.120}: {kind}")

    def name_left_out(self) -> None:
        """Log what was left out, once for each file."""
        found = self.path.stat()
        this = (self.path, found.st_size, found.st_mtime_ns)
        if self.left_out and this not in _named:
            _named.add(this)
            more = f" and {len(self.left_out) - 3} more" if len(self.left_out) > 3 else ""
            logger.warning("%s: left out, no plain files: %s%s", self.path, "; ".join(self.left_out[:3]), more)


@contextmanager
def open_tar(path: Path) -> Iterator[DataTar]:
    """Open an uncompressed tar; what is left out of it is logged at the end.

    Raises:
        tarfile.TarError: not a tar; and what else is in :data:`BROKEN_TAR`.
    """
    expect_plain_file(path)
    with tarfile.open(path, "r:", tarinfo=DataTarInfo) as tar:
        opened = DataTar(path, tar)
        yield opened
    opened.name_left_out()


def broken_tar(path: Path, error: Exception, **where: str | None) -> DataError:
    """Return the error for a tar that cannot be read."""
    return DataError(f"not a readable tar: {error}", file=path, wanted="a complete, uncompressed tar", **where)
