"""Members of a tar file by name: indexed once, read by seeking, never unpacked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmos_lidar.arrays import BROKEN_ARRAY as BROKEN_ARRAY
from cosmos_lidar.arrays import read_npy, read_npz
from cosmos_lidar.bounds import expect_size
from cosmos_lidar.errors import DataError
from cosmos_lidar.tars import BROKEN_TAR, broken_tar, open_tar


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
            with open_tar(path) as tar:
                for info in tar.members():
                    name = info.name.rsplit("/", 1)[-1]
                    if name in members:
                        raise DataError(
                            "two members of one name", file=path, clip=clip, key=name, wanted="unique names"
                        )
                    members[name] = (info.offset_data, info.size)
                end = tar.end
        except BROKEN_TAR as error:
            raise broken_tar(path, error, clip=clip) from error
        _refuse_cut(path, end, next(reversed(members), None), clip)
        return cls(path, members)

    @classmethod
    def of_clip(cls, folder: Path, clip: str) -> TarIndex | None:
        """Index ``CLIP.tar`` in a folder, which need not be there.

        Raises:
            DataError: as :meth:`of`.
        """
        file = folder / f"{clip}.tar"
        return cls.of(file, clip) if file.is_file() else None

    def read(self, name: str, clip: str | None = None, limit: int | None = None) -> bytes:
        """Return the bytes of member ``name``.

        Args:
            name: base name of the member.
            clip: for messages.
            limit: bytes that it may have; default :data:`~cosmos_lidar.bounds.LARGEST_ITEM`.

        Raises:
            DataError: there is no such member, it is larger, or the file has become shorter since it was indexed.
        """
        if name not in self.members:
            raise DataError(
                "member missing", file=self.path, clip=clip, key=name, wanted=f"one of {len(self.members)} members"
            )
        offset, size = self.members[name]
        expect_size(size, "a member", limit=limit, file=self.path, clip=clip, key=name)
        with self.path.open("rb", buffering=0) as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) != size:
            raise DataError(
                f"{len(data)} of {size} bytes", file=self.path, clip=clip, key=name, wanted="a complete tar"
            )
        return data

    def read_array(self, name: str, clip: str | None = None, limit: int | None = None) -> np.ndarray:
        """Return the array of a ``.npy`` member, or the only array of a ``.npz`` member; never unpickles.

        Args:
            name: base name of the member.
            clip: for messages.
            limit: bytes that the array may have; default :data:`~cosmos_lidar.bounds.LARGEST_ITEM`.

        Raises:
            DataError: as :meth:`read`, or the member is no such file, it is larger, or it holds Python objects.
        """
        data = self.read(name, clip, limit)
        try:
            if not data.startswith(b"PK"):
                return read_npy(data, limit)
            arrays = read_npz(data, limit=limit)
            if len(arrays) != 1:
                raise DataError(f"it holds the arrays {list(arrays)}", wanted="npz of one array")
            return next(iter(arrays.values()))
        except DataError as error:
            problem = f"not a readable array: {error.problem}".replace("array: not a readable array", "array")
            raise DataError(problem, file=self.path, clip=clip, key=name, wanted=error.wanted) from error


def _refuse_cut(path: Path, end: int, last: str | None, clip: str | None) -> None:
    """Complain where the empty block that ends every tar is missing."""
    with path.open("rb") as file:
        file.seek(end)
        block = file.read(512)
    if len(block) < 512:
        raise DataError(
            "the tar ends without its closing block",
            file=path,
            clip=clip,
            key=last,
            wanted="a complete copy of the file",
        )
