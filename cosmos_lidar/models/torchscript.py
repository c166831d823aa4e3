"""Weights of TorchScript archives, memory-mapped: read tensor by tensor, without running the program in the archive."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_CLASS = re.compile(r"^class (\w+)\(Module\):\n((?:  .*\n|\n)*)", re.MULTILINE)
_LIST = re.compile(r"^  __(?:parameters|buffers)__ = \[(.*)\]$", re.MULTILINE)
_TYPES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip


def mapped_torchscript(path: Path) -> dict[str, Tensor]:
    """Return parameters and buffers of a TorchScript archive by name, as ``torch.jit.load(path).state_dict()`` does.

    Their memory is that of the file: pages are read when they are looked at.

    Raises:
        ValueError: not an archive whose weights can be read that way.
    """
    with zipfile.ZipFile(path) as archive:
        storages = [member for member in archive.infolist() if "/data/" in member.filename]
        if any(member.compress_type != zipfile.ZIP_STORED for member in storages):
            raise ValueError("its tensors are compressed")
    reader = torch._C.PyTorchFileReader(str(path))
    try:
        unpickler = _Unpickler(io.BytesIO(reader.get_record("data.pkl")), reader, path)
        tensors: dict[str, Tensor] = {}
        _collect(unpickler.load(), "", _registered_names(reader), tensors)
    except (pickle.UnpicklingError, RuntimeError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return tensors


class _Object:
    """A scripted object: the name of its class and its attributes."""

    qualified = ""

    def __setstate__(self, state: Any) -> None:
        self.attributes = dict(state) if isinstance(state, dict) else {}


class _Unpickler(pickle.Unpickler):
    """Builds a tree of objects and memory-mapped tensors; no class or function of the archive is looked up."""

    def __init__(self, stream: io.BytesIO, reader: Any, path: Path) -> None:
        super().__init__(stream)
        self.reader = reader
        self.mapped = torch.UntypedStorage.from_file(str(path), False, path.stat().st_size)

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return type(name, (_Object,), {"qualified": f"{module}.{name}"})
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_tensor"):
            return _view
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch.jit._pickle":
            return _plain_list if name.startswith("build_") else lambda value, *types: value
        raise pickle.UnpicklingError(f"refers to {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        kind, dtype, key, _, count = pid
        if kind != "storage":
            raise pickle.UnpicklingError(f"refers to a {kind}")
        start = self.reader.get_record_offset(f"data/{key}")
        size = count * dtype.itemsize
        return torch.empty(0, dtype=dtype).set_(self.mapped[start : start + size], 0, (count,), (1,))


def _view(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *rest: Any) -> Tensor:
    return storage.as_strided(size, stride, offset)


def _plain_list(items: Any) -> list[Any]:
    return list(items)


def _registered_names(reader: Any) -> dict[str, set[str]]:
    """Return the names of parameters and buffers of each class, by its qualified name, from the archive's code."""
    names: dict[str, set[str]] = {}
    for record in reader.get_all_records():
        if not (record.startswith("code/") and record.endswith(".py")):
            continue
        module = record.removeprefix("code/").removesuffix(".py").replace("/", ".")
        for name, body in _CLASS.findall(reader.get_record(record).decode()):
            names[f"{module}.{name}"] = set(re.findall(r'"([^"]+)"', " ".join(_LIST.findall(body))))
    return names


def _collect(module: _Object, prefix: str, registered: dict[str, set[str]], into: dict[str, Tensor]) -> None:
    for name, value in module.attributes.items():
        if isinstance(value, Tensor) and name in registered[module.qualified]:
            into[prefix + name] = value
        elif isinstance(value, _Object):
            _collect(value, f"{prefix}{name}.", registered, into)
