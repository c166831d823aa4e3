"""Members of a tar file by name: indexed once, read by seeking, never unpacked."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmos_lidar.errors import DataError

# A broken .npz shows itself in its zip directory, its compressed bytes, its header text or its dtype.
BROKEN_ARRAY = (
    ValueError,
    OSError,
    EOFError,
    KeyError,
    NotImplementedError,
    SyntaxError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class TarIndex:
    """Where each member of an uncompressed tar lies. It holds no open file: it may travel to other processes.

    Attributes:
        path: the tar.
        members: base name -> (offset, size) in bytes, in the order of the tar.
    """

    path: Path
    members: dict[str, tuple[int, int]]

    @classmethod
    def of(cls, path: Path, clip: str | None = None) -> TarIndex:
        """Index ``path``.

        Raises:
            DataError: not a tar, compressed, cut off, or two members of one name.
        """
        members: dict[str, tuple[int, int]] = {}
        try:
            with tarfile.open(path, "r:") as tar:
                for info in tar:
                    if not info.isfile():
                        continue
                    name = info.name.rsplit("/", 1)[-1]
                    if name in members:
                        raise DataError(
                            "two members of one name", file=path, clip=clip, key=name, wanted="unique names"
                        )
                    members[name] = (info.offset_data, info.size)
        except (tarfile.TarError, OSError, EOFError) as error:
            raise DataError(
                f"not a readable tar: {error}", file=path, clip=clip, wanted="a complete, uncompressed tar"
            ) from error
        _refuse_cut(path, members, clip)
        return cls(path, members)

    def read(self, name: str, clip: str | None = None) -> bytes:
        """Return the bytes of member ``name``.

        Raises:
            DataError: there is no such member, or the file has become shorter since it was indexed.
        """
        if name not in self.members:
            raise DataError(
                "member missing", file=self.path, clip=clip, key=name, wanted=f"one of {len(self.members)} members"
            )
        offset, size = self.members[name]
        with self.path.open("rb", buffering=0) as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) != size:
            raise DataError(
                f"{len(data)} of {size} bytes", file=self.path, clip=clip, key=name, wanted="a complete tar"
            )
        return data

    def read_array(self, name: str, clip: str | None = None) -> np.ndarray:
        """Return the array of a ``.npy`` member, or the only array of a ``.npz`` member; never unpickles.

        Raises:
            DataError: as :meth:`read`, or the member is no such file, or it holds Python objects.
        """
        data = self.read(name, clip)
        try:
            loaded = np.load(io.BytesIO(data), allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            if len(loaded.files) != 1:
                raise ValueError(f"it holds the arrays {loaded.files}")
            return loaded[loaded.files[0]]
        except BROKEN_ARRAY as error:
            raise DataError(
                f"not a readable array: {error}", file=self.path, clip=clip, key=name, wanted="npz of one array"
            ) from error


def _refuse_cut(path: Path, members: dict[str, tuple[int, int]], clip: str | None) -> None:
    """Complain where the last member is shorter than announced, or the empty block that ends every tar is missing."""
    size = path.stat().st_size
    last = next(reversed(members), None)
    if last is not None and sum(members[last]) > size:
        raise DataError(
            "the tar is cut off inside a member", file=path, clip=clip, key=last, wanted="a complete copy of the file"
        )
    with path.open("rb") as file:
        file.seek(_after(members[last]) if last is not None else 0)
        block = file.read(512)
    if len(block) < 512:
        raise DataError(
            "the tar ends without its closing block",
            file=path,
            clip=clip,
            key=last,
            wanted="a complete copy of the file",
        )


def _after(member: tuple[int, int]) -> int:
    offset, size = member
    return offset + (size + 511) // 512 * 512
