"""Weights of TorchScript archives, memory-mapped: read tensor by tensor, without running the program in the archive.

``torch.jit.load`` runs code of the file (``__setstate__`` of its classes). Here the archive is read as data.
"""

from __future__ import annotations

import math
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cosmos_lidar.errors import DataError
from cosmos_lidar.pickles import ARRAYS, ArrayUnpickler, DataUnpickler, Named
from cosmos_lidar.torch_files import archive_members, read_member

_CLASS = re.compile(r"^class (\w+)\(Module\):\n((?:  .*\n|\n)*)", re.MULTILINE)
_LIST = re.compile(r"^  __(?:parameters|buffers)__ = \[(.*)\]$", re.MULTILINE)
_TYPES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip
_MOST_MODULES = 1 << 17  # a network of shared modules has its parameters once for each path to them
_LOCAL_HEADER = 30
_Refused = pickle.UnpicklingError


def mapped_torchscript(path: Path) -> dict[str, Tensor]:
    """Return parameters and buffers of a TorchScript archive by name, as ``torch.jit.load(path).state_dict()`` does.

    Their memory is that of the file: pages are read when they are looked at. Compressed ones are read into memory.

    Raises:
        ValueError: not an archive whose weights can be read that way.
        DataError: it unpacks to more than the limit.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            archived = _Archive(archive, path)
            tensors: dict[str, Tensor] = {}
            _collect(_Unpickler(archived).load(), archived.registered_names(), tensors)
            return tensors
    except DataError:
        raise
    except Exception as error:  # damaged pickles and archives fail in every way there is
        raise ValueError(f"{type(error).__name__}: {error!s:.200}") from error


def mapped_pickle(path: Path) -> tuple[Any, list[str]]:
    """Return what a zipped file of ``torch.save`` holds, its tensors memory-mapped, and the classes left out.

    Objects of other classes than tensors, numbers, texts and containers come back as empty stand-ins.

    Raises:
        ValueError: it cannot be read that way.
        DataError: it unpacks to more than the limit.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpickler = _WithStandIns(_Archive(archive, path))
            return unpickler.load(), list(unpickler.classes)
    except DataError:
        raise
    except Exception as error:  # as above
        raise ValueError(f"{type(error).__name__}: {error!s:.200}") from error


class _Archive:
    """The members of a TorchScript archive."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive, self._path = archive, path
        self._members = archive_members(archive, path)
        self._size = path.stat().st_size
        self._mapped = torch.UntypedStorage.from_file(str(path), False, self._size)

    def read(self, name: str) -> bytes:
        """Return the content of a member."""
        return read_member(self._archive, self._members[name])

    def storage(self, name: str, size: int) -> torch.UntypedStorage:
        """Return the first ``size`` bytes of a member, as a part of the file where it is not compressed."""
        member = self._members[name]
        if size > member.file_size:
            raise _Refused(f"promises {size} bytes in {name}, which has {member.file_size}")
        if member.compress_type != zipfile.ZIP_STORED:
            content = bytearray(read_member(self._archive, member))
            return torch.frombuffer(content, dtype=torch.uint8).untyped_storage()[:size] if size else self._mapped[:0]
        header = self._header(member)
        name_and_extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        start = member.header_offset + _LOCAL_HEADER + sum(name_and_extra)
        if start + size > self._size:
            raise _Refused(f"{name} ends after the file")
        return self._mapped[start : start + size]

    def _header(self, member: zipfile.ZipInfo) -> bytes:
        with self._path.open("rb") as file:
            file.seek(member.header_offset)
            return file.read(_LOCAL_HEADER)

    def registered_names(self) -> dict[str, set[str]]:
        """Return the names of parameters and buffers of each class, by its qualified name, from the archive's code."""
        names: dict[str, set[str]] = {}
        for record in self._members:
            if not (record.startswith("code/") and record.endswith(".py")):
                continue
            module = record.removeprefix("code/").removesuffix(".py").replace("/", ".")
            for name, body in _CLASS.findall(self.read(record).decode()):
                names[f"{module}.{name}"] = set(re.findall(r'"([^"]+)"', " ".join(_LIST.findall(body))))
        return names


class _Object:
    """A scripted object: the name of its class and its attributes."""

    qualified = ""
    attributes: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.attributes = {k: v for k, v in state.items() if isinstance(k, str)} if isinstance(state, dict) else {}


class _Unpickler(DataUnpickler):
    """Builds a tree of objects and memory-mapped tensors; no class or function of the archive is looked up."""

    built: tuple[type, ...] = (_Object,)

    def __init__(self, archive: _Archive) -> None:
        super().__init__(archive.read("data.pkl"))
        self.archive = archive
        self.classes: dict[str, type[_Object]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name."""
        if module.startswith("__torch__"):
            qualified = f"{module}.{name}"
            return self.classes.setdefault(qualified, type("Scripted", (_Object,), {"qualified": qualified}))
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        if (module, name) == ("torch.jit._pickle", "restore_type_tag"):
            return Named(_first)
        if module == "torch.jit._pickle" and name.startswith("build_"):
            return Named(_plain_list)
        return _NAMES[module, name] if (module, name) in _NAMES else super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Tensor:
        """Return a storage as a tensor: ``("storage", dtype, key, device, numbers)``."""
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage":
            raise _Refused("refers to something else than a storage")
        _, dtype, key, _, count = pid
        if not isinstance(dtype, torch.dtype) or not isinstance(key, str) or type(count) is not int or count < 0:
            raise _Refused("describes a storage by something else than dtype, key and size")
        storage = self.archive.storage(f"data/{key}", count * dtype.itemsize)
        return torch.empty(0, dtype=dtype).set_(storage, 0, (count,), (1,))


class _StandIn(_Object):
    """What stands for an object of a class that is not looked up; it ignores its arguments and its state."""

    def __new__(cls, *arguments: Any) -> _StandIn:
        """Make one."""
        return object.__new__(cls)

    def __init__(self, *arguments: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        """Ignore the state."""

    def extend(self, items: Any) -> None:
        """Ignore the items of a list."""

    append = extend


class _WithStandIns(_Unpickler):
    """Builds containers and memory-mapped tensors, and stand-ins of all else."""

    built = (_StandIn, *ArrayUnpickler.built)
    dispatch = dict(_Unpickler.dispatch)

    def load_build(self) -> None:
        """Give a new object its state; the versions that torch keeps with a dictionary of weights are left out."""
        if isinstance(self.stack[-2], dict):
            self.stack.pop()
        else:
            super().load_build()

    dispatch[pickle.BUILD[0]] = load_build

    def _put(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], _StandIn):  # of a class of its own that is a dictionary
            super()._put(items)

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name; nothing is imported."""
        if (module, name) in ARRAYS:
            return ARRAYS[module, name]
        if module == "torch._utils" and name == "_rebuild_parameter":
            return Named(_first)
        try:
            return super().find_class(module, name)
        except _Refused:
            qualified = f"{module}.{name}"[:120]
            return self.classes.setdefault(qualified, type("StandIn", (_StandIn,), {"qualified": qualified}))


def _view(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
    if not isinstance(storage, Tensor) or not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise _Refused("describes a tensor by something else than storage, offset, size and stride")
    if any(type(number) is not int or number < 0 for number in (offset, *size, *stride)):
        raise _Refused("describes a tensor by something else than numbers")
    if math.prod(size) > storage.numel():
        raise _Refused(f"describes a tensor of size {size} by {storage.numel()} numbers"[:160])
    return storage.as_strided(size, stride, offset)


def _plain_list(items: Any) -> list[Any]:
    return list(items)


def _first(value: Any, *types: Any) -> Any:
    return value


def _mapping() -> dict[Any, Any]:
    return {}


_NAMES = {
    ("torch._utils", "_rebuild_tensor_v2"): Named(_view),
    ("torch._utils", "_rebuild_tensor"): Named(_view),
    ("collections", "OrderedDict"): Named(_mapping),
}


def _collect(root: Any, registered: dict[str, set[str]], into: dict[str, Tensor]) -> None:
    """Gather the parameters and buffers below a module; each one's come before those of the modules after it."""
    if not isinstance(root, _Object):
        raise _Refused(f"holds a {type(root).__name__}, no module")
    waiting: list[tuple[str, Any]] = [("", root)]
    visited = 0
    while waiting:
        prefix, value = waiting.pop()
        if isinstance(value, Tensor):
            into[prefix.removesuffix(".")] = value
            continue
        visited += 1
        if visited > _MOST_MODULES or prefix.count(".") > 100:
            raise _Refused("modules that hold each other")
        own = registered.get(value.qualified, set())
        found = value.attributes.items()
        parts = [(name, v) for name, v in found if isinstance(v, _Object) or (isinstance(v, Tensor) and name in own)]
        waiting += [(f"{prefix}{name}.", part) for name, part in reversed(parts)]
