"""Parts of files that are read in place: a whole file, or a zip member stored uncompressed, by seeking."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from cosmos_lidar.bounds import expect_plain_file, expect_size
from cosmos_lidar.errors import DataError

_LOCAL = struct.Struct("<4s5H3I2H")  # local file header of a zip member, before its name and extra field
_BROKEN_ZIP = (
    OSError,
    EOFError,
    ValueError,
    IndexError,
    KeyError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    UnicodeDecodeError,
)


@dataclass(frozen=True)
class FileSpan:
    """Bytes of a file, or of a member of a zip. It holds no open file: it may travel to other processes.

    Attributes:
        path: the file.
        member: name of the member of a zip; None for the whole file.
        header: offset of the member's local header, bytes.
        size: of the member, bytes.
        problem: why the member cannot be read in place; None where it can.
    """

    path: Path
    member: str | None = None
    header: int = 0
    size: int = 0
    problem: str | None = None

    def open(self, clip: str | None = None) -> io.BufferedReader:
        """Return a stream of the bytes that can seek.

        Raises:
            DataError: it cannot be opened, or the member is compressed, encrypted or cut off.
        """
        try:
            expect_plain_file(self.path, clip)
            if self.member is None:
                return self.path.open("rb")
            return io.BufferedReader(_Part(*self._place(clip)))
        except OSError as error:
            problem = f"cannot be read: {error.strerror or error}"
            raise DataError(problem, file=self.path, clip=clip, key=self.member) from error

    def read(self, what: str, limit: int | None = None, clip: str | None = None) -> bytes:
        """Return the bytes.

        Args:
            what: they are, for the message.
            limit: how many there may be; default :data:`~cosmos_lidar.bounds.LARGEST_ITEM`.
            clip: for the message.

        Raises:
            DataError: as :meth:`open`, or larger than the limit.
        """
        with self.open(clip) as stream:
            size = stream.seek(0, io.SEEK_END)
            expect_size(size, what, limit=limit, file=self.path, clip=clip, key=self.member)
            stream.seek(0)
            return stream.read(size)

    def _place(self, clip: str | None) -> tuple[Path, int, int]:
        """Return path, offset and size of the member's bytes."""
        if self.problem:
            wanted = "members stored uncompressed, or the files unpacked"
            raise DataError(self.problem, file=self.path, clip=clip, key=self.member, wanted=wanted)
        whole = self.path.stat().st_size
        with self.path.open("rb") as file:
            file.seek(self.header)
            local = file.read(_LOCAL.size)
        if len(local) < _LOCAL.size or local[:4] != b"PK\x03\x04":
            problem = "no member starts where the zip's directory has one"
            raise DataError(problem, file=self.path, clip=clip, key=self.member, wanted="a complete zip")
        name, extra = _LOCAL.unpack(local)[-2:]
        offset = self.header + _LOCAL.size + name + extra
        if offset + self.size > whole:
            problem = f"{max(whole - offset, 0)} of {self.size} bytes"
            raise DataError(problem, file=self.path, clip=clip, key=self.member, wanted="a complete zip")
        return self.path, offset, self.size


def zip_members(path: Path, clip: str | None = None) -> list[FileSpan]:
    """Return the files in a zip, in its order; only its directory is read.

    Raises:
        DataError: not a zip, or cut off.
    """
    try:
        expect_plain_file(path, clip)
        with zipfile.ZipFile(path) as archive:
            found = [info for info in archive.infolist() if not info.is_dir()]
    except _BROKEN_ZIP as error:
        problem = f"not a readable zip: {error!s:.200}"
        raise DataError(problem, file=path, clip=clip, wanted="a complete zip") from error
    return [FileSpan(path, info.filename, info.header_offset, info.file_size, _problem(info)) for info in found]


def _problem(info: zipfile.ZipInfo) -> str | None:
    if info.flag_bits & 0x1:
        return "an encrypted member"
    if info.compress_type != zipfile.ZIP_STORED:
        return f"a compressed member (method {info.compress_type})"
    return None if info.compress_size == info.file_size else "a member of two sizes"


class _Part(io.RawIOBase):
    """Some bytes of a file as a stream."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._offset, self._size, self._at = offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"seek to {start + offset}")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer)
        count = max(min(len(view), self._size - self._at), 0)
        self._file.seek(self._offset + self._at)
        got = self._file.readinto(view[:count]) or 0
        self._at += got
        return got

    def close(self) -> None:
        self._file.close()
        super().close()
