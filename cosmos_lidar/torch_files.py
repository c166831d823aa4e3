"""A look at files of ``torch.save`` before torch reads them: names, sizes and shapes, without torch's own unpickler.

``torch.load(weights_only=True)`` runs no code of a file, but it trusts the sizes in the file: it allocates the storages
that an old file promises, unpacks members of any size, and hashes nested keys until the stack overflows. This module
walks through the same pickles with stand-ins, and refuses what does not add up. It does not import torch.
"""

from __future__ import annotations

import math
import mmap
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

from cosmos_lidar.bounds import describe_size, expect_size
from cosmos_lidar.pickles import ARRAYS, DataUnpickler, Named

_MAGIC = 0x1950A86A20F9469CFC6C  # of files from before torch 1.6
_DTYPES = {
    "Double": 8, "Float": 4, "Half": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1,
    "BFloat16": 2, "ComplexDouble": 16, "ComplexFloat": 8,
}  # fmt: skip
_DTYPE_NAME = re.compile(r"(?:(?:b?float|u?int|complex)\d{1,3}(?:_\w+)?|bool|strided|sparse_coo|contiguous_format)")
_EXPANDED = 1 << 26  # bytes of a tensor that repeats its storage
_PACKED_BY = 16  # members of an archive may be so many times larger than the archive; weights hardly compress
_Refused = pickle.UnpicklingError


def is_zip(path: Path) -> bool:
    """Return whether a file ends as a zip archive does; ``zipfile.is_zipfile`` raises for some broken ends."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return False


def is_plain_archive(path: Path) -> bool:
    """Return whether a file is a zip archive whose members are not compressed, as torch writes it: it can be mapped."""
    if not is_zip(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())


def check_torch_file(path: Path) -> None:
    """Refuse a file that torch should not be given.

    Raises:
        pickle.UnpicklingError: it names what weights do not need, or promises more than it has.
        DataError: it unpacks to more than the limit.
        Exception: of any other kind where the file is damaged.
    """
    if is_zip(path):
        _check_zip(path)
    else:
        _check_old(path)


def archive_members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the members of a zip archive of torch by name, without the folder that they all lie in.

    Raises:
        zipfile.BadZipFile: two members of one name.
        DataError: they unpack to more than the limit.
    """
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.partition("/")[2]
        if name in members:
            raise zipfile.BadZipFile(f"two members {info.filename!r}")
        members[name] = info
    size, unpacked = path.stat().st_size, sum(info.file_size for info in members.values())
    if unpacked > size:  # stored members do not exceed their archive
        expect_size(unpacked, f"what {describe_size(size)} unpack to", limit=_PACKED_BY * size, file=path)
    return members


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Return the content of a member; torch can leave the checksums out, and zeros are written instead."""
    with archive.open(info) as stream:
        stream._expected_crc = None  # type: ignore[attr-defined]
        return stream.read()


def _check_zip(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive_members(archive, path)
        if "constants.pkl" in members:
            raise _Refused("a TorchScript program, not the weights alone")
        if "data.pkl" not in members:
            raise _Refused("no data.pkl in it")
        inspector = _Inspector(read_member(archive, members["data.pkl"]))
    inspector.load()
    for key, size in inspector.storages.items():
        held = members[f"data/{key}"].file_size if f"data/{key}" in members else 0
        if size > held:
            raise _Refused(f"promises {describe_size(size)} in data/{key}, which has {describe_size(held)}")


def _check_old(path: Path) -> None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content[257:262] == b"ustar":
            raise _Refused("a tar: written by torch before 0.1.10, or no file of weights")
        if _Inspector(content).load() != _MAGIC:
            raise _Refused("not a file of torch.save")
        for _ in range(2):  # version, and the sizes of numbers
            _Inspector(content).load()
        inspector = _Inspector(content)
        inspector.load()
        promised = sum(inspector.storages.values())
        if promised > len(content):
            raise _Refused(f"promises {describe_size(promised)}, the file has {describe_size(len(content))}")
        _Inspector(content).load()  # keys of the storages


class _Anything:
    """An object of torch's own: a tensor, a dtype, a device."""

    def __setstate__(self, state: Any) -> None:
        """Take any state."""


class _Mapping(dict):
    """A dictionary that may be given attributes."""

    def __setstate__(self, state: Any) -> None:
        """Take any state."""


class _Kind(_Anything):
    """A type of storage: how many bytes a number has."""

    def __init__(self, itemsize: int) -> None:
        self.itemsize = itemsize


class _Storage(_Anything):
    """A storage: how many numbers of how many bytes it has."""

    def __init__(self, count: int, itemsize: int) -> None:
        self.count, self.itemsize = count, itemsize


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> _Anything:
    """Check a tensor against its storage."""
    if not isinstance(storage, _Storage) or not _are_sizes((offset,)) or not _are_sizes(size) or not _are_sizes(stride):
        raise _Refused("describes a tensor by something else than storage, offset, size and stride")
    if len(size) != len(stride) or len(size) > 64:
        raise _Refused(f"describes a tensor of size {size} by strides {stride}"[:160])
    count = math.prod(size)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if count and last >= max(storage.count, 1) and not isinstance(storage, _Untyped):
        raise _Refused(f"describes a tensor of size {size} by {storage.count} numbers"[:160])
    if count > storage.count and count * storage.itemsize > _EXPANDED:
        raise _Refused(f"repeats {storage.count} numbers to a tensor of size {size}"[:160])
    return _Anything()


class _Untyped(_Storage):
    """A storage of bytes, of which only torch knows what number they are."""


def _are_sizes(value: Any) -> bool:
    return isinstance(value, tuple) and all(type(item) is int and 0 <= item < 1 << 60 for item in value)


def _size(value: Any = ()) -> tuple[int, ...]:
    if not isinstance(value, (tuple, list)) or not _are_sizes(tuple(value)):
        raise _Refused("a torch.Size of something else than numbers")
    return tuple(value)


def _parameter(tensor: Any, *rest: Any) -> Any:
    if not isinstance(tensor, _Anything):
        raise _Refused(f"makes a parameter of a {type(tensor).__name__}")
    return tensor


def _mapping(items: Any = (), *rest: Any) -> _Mapping:
    """Return a mapping that is made of its items, as files of torch before 1.6 have it, or of nothing."""
    pairs = list(items.items() if isinstance(items, dict) else items)
    if rest or not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
        raise _Refused("an OrderedDict that is made of something else than pairs")
    if not all(isinstance(key, (str, int)) for key, _ in pairs):
        raise _Refused("an OrderedDict whose keys are neither texts nor numbers")
    return _Mapping(pairs)


def _anything(*arguments: Any) -> _Anything:
    if not all(isinstance(part, (str, bytes, int, float)) for part in arguments):
        raise _Refused("a device or layout of something else than texts and numbers")
    return _Anything()


class _Inspector(DataUnpickler):
    """Walks through a pickle of torch; ``storages`` are the bytes that it promises, by key."""

    names = {
        ("collections", "OrderedDict"): Named(_mapping),
        ("collections", "Counter"): Named(_mapping),
        ("torch", "Size"): Named(_size),
        ("torch", "device"): Named(_anything),
        ("torch.serialization", "_get_layout"): Named(_anything),
        ("torch._utils", "_rebuild_tensor"): Named(_tensor),
        ("torch._utils", "_rebuild_tensor_v2"): Named(_tensor),
        ("torch._utils", "_rebuild_tensor_v3"): Named(_tensor),
        ("torch._utils", "_rebuild_parameter"): Named(_parameter),
        ("torch._utils", "_rebuild_parameter_with_state"): Named(_parameter),
        ("_codecs", "encode"): ARRAYS["_codecs", "encode"],
        **{("torch", f"{name}Storage"): _Kind(size) for name, size in _DTYPES.items()},
        ("torch.storage", "UntypedStorage"): _Kind(0),
    }
    built = (_Anything, _Mapping)
    keys = (_Anything,)

    def __init__(self, content: Any) -> None:
        super().__init__(content)
        self.storages: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name."""
        if module == "torch" and _DTYPE_NAME.fullmatch(name):
            return _Anything()
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> _Storage:
        """Note a storage: ``("storage", type, key, location, numbers, …)``."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] not in ("storage", b"storage"):
            raise _Refused("refers to something else than a storage")
        kind, key, count = pid[1], pid[2], pid[4]
        if not isinstance(kind, _Kind) or not isinstance(key, (str, int)) or not _are_sizes((count,)):
            raise _Refused("describes a storage by something else than type, key and size")
        bytes_ = count * (kind.itemsize or 1)
        self.storages[str(key)] = max(bytes_, self.storages.get(str(key), 0))
        return _Untyped(count, 1) if not kind.itemsize else _Storage(count, kind.itemsize)
