"""Reading sharded checkpoints: tensors onto any mesh, and the rest of the state; pickled code is never executed."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex, TensorStorageMetadata

from cosmos_lidar.bounds import describe_size, read_file
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import read_tensors
from cosmos_lidar.pickles import DataUnpickler, Named
from cosmos_lidar.training.checkpoint.manifest import verify

STATE = "state.pt"
_METADATA = ".metadata"
_OF_METADATA = ("Metadata", "TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata", "TensorProperties",
                "MetadataIndex", "StorageMeta")  # fmt: skip
_Refused = pickle.UnpicklingError


class _Reader(dcp.FileSystemReader):
    """Reads the index of the tensors, a pickle, without running code that the file may hold."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Return the index."""
        path = Path(self.path) / _METADATA
        try:
            metadata = _checked(_IndexUnpickler(read_file(path, "an index of tensors")).load(), path.parent)
        except DataError:
            raise
        except Exception as error:
            wanted = "a checkpoint as training wrote it"
            raise DataError(f"cannot be read as an index of tensors: {error}", file=path, wanted=wanted) from error
        metadata.storage_meta = getattr(metadata, "storage_meta", None) or dcp.metadata.StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        return metadata


def _encoding(number: Any) -> Any:
    return torch.distributed.checkpoint.metadata._MEM_FORMAT_ENCODING(number)


def _layout(name: Any) -> Any:
    if name != "torch.strided":
        raise _Refused(f"names the layout {name!r:.40}")
    return torch.strided


def _size(lengths: Any = ()) -> torch.Size:
    if not isinstance(lengths, (tuple, list)) or not all(type(n) is int and 0 <= n < 1 << 60 for n in lengths):
        raise _Refused("gives a size by something else than numbers")
    return torch.Size(lengths)


def _mapping() -> dict[Any, Any]:
    return {}


def _path(*parts: Any) -> str:
    return "/".join(part for part in parts if isinstance(part, str))


class _IndexUnpickler(DataUnpickler):
    """Builds the index from its own classes, which get a state and are never called."""

    names = {
        **{(f"{dcp.__name__}.metadata", name): getattr(dcp.metadata, name) for name in _OF_METADATA},
        (f"{dcp.__name__}.metadata", "_MEM_FORMAT_ENCODING"): Named(_encoding),
        (f"{dcp.__name__}.filesystem", "_StorageInfo"): dcp.filesystem._StorageInfo,
        ("torch.serialization", "_get_layout"): Named(_layout),
        ("torch", "Size"): Named(_size),
        ("collections", "OrderedDict"): Named(_mapping),
        ("pathlib", "PosixPath"): Named(_path),
        ("pathlib._local", "PosixPath"): Named(_path),
    }
    built = (*(getattr(dcp.metadata, name) for name in _OF_METADATA), dcp.filesystem._StorageInfo)
    keys = (MetadataIndex,)

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name."""
        plain = getattr(torch, name, None) if module == "torch" else None
        return plain if isinstance(plain, (torch.dtype, torch.layout)) else super().find_class(module, name)

    def _checked_key(self, key: Any, depth: int = 0) -> Any:
        if isinstance(key, MetadataIndex) and not (
            isinstance(getattr(key, "fqn", None), str) and isinstance(key.offset, (torch.Size, type(None)))
        ):
            raise _Refused("names a tensor by something else than a text")
        return super()._checked_key(key, depth)


def _checked(metadata: Any, folder: Path) -> Metadata:
    """Refuse an index whose parts lie outside the folder, or are larger than its files."""
    if not isinstance(metadata, Metadata):
        raise _Refused(f"holds a {type(metadata).__name__}")
    for info in (metadata.storage_data or {}).values():
        name = info.relative_path
        if not isinstance(name, str) or Path(name).name != name or name in ("", ".", ".."):
            raise _Refused(f"names the file {name!r:.80}")
        if info.transform_descriptors:
            raise _Refused(f"packs parts by {info.transform_descriptors!r:.80}")
    held = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    stored = [item for item in metadata.state_dict_metadata.values() if isinstance(item, TensorStorageMetadata)]
    promised = sum(math.prod(item.size) * item.properties.dtype.itemsize for item in stored)
    if promised > held:
        verify(folder)  # names the file that is cut
        raise _Refused(f"promises {describe_size(promised)} of tensors, the files have {describe_size(held)}")
    return metadata


def load_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Fill ``tensors`` from a checkpoint, in place, whatever mesh it was written on; all ranks call this.

    Raises:
        DataError: a name is not in the checkpoint, or has another shape: nothing is changed then; or a file is damaged.
    """
    reader = _Reader(path)
    stored = reader.read_metadata().state_dict_metadata
    for name, tensor in tensors.items():
        found = stored.get(name)
        if not isinstance(found, TensorStorageMetadata) or found.size != tensor.shape:
            what = "missing" if found is None else f"of shape {tuple(getattr(found, 'size', ()))}"
            wanted = f"shape {tuple(tensor.shape)}: the configuration that the checkpoint was trained with"
            raise DataError(f"tensor {what}", file=path, key=name, wanted=wanted)
    _fill(path, dict(tensors), reader, alone=not dist.is_initialized())


def stored_names(path: Path, prefix: str) -> frozenset[str]:
    """Return the names of the tensors of a checkpoint that begin with ``prefix``, without it.

    Raises:
        DataError: the index of tensors is missing or damaged.
    """
    names = _Reader(path).read_metadata().state_dict_metadata
    return frozenset(name.removeprefix(prefix) for name in names if name.startswith(prefix))


def load_full(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """Return the whole tensors of a checkpoint whose names begin with ``prefix``, on the CPU, without it.

    Raises:
        DataError: a file is missing or damaged.
    """
    stored = _Reader(path).read_metadata().state_dict_metadata
    tensors = {
        name: torch.empty(item.size, dtype=item.properties.dtype)
        for name, item in stored.items()
        if name.startswith(prefix) and isinstance(item, TensorStorageMetadata)
    }
    if tensors:
        _fill(path, tensors, _Reader(path), alone=True)
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def load_state(path: Path) -> dict[str, Any]:
    """Return the state that :meth:`~cosmos_lidar.training.checkpoint.store.CheckpointStore.save` was given.

    Raises:
        DataError: the file is missing or damaged.
    """
    return read_tensors(path / STATE, "a checkpoint of this program")


def _fill(path: Path, tensors: dict[str, Tensor], reader: _Reader, alone: bool) -> None:
    """Read ``tensors``; what goes wrong is put down to the damaged file, where one is found."""
    try:
        dcp.load(tensors, storage_reader=reader, no_dist=alone)
    # what torch collects of several ranks is no Exception
    except (Exception, dcp.CheckpointException) as error:
        verify(path)
        wanted = "a checkpoint as training wrote it"
        raise DataError(f"cannot be read: {in_words(error)}", file=path, wanted=wanted) from error


def in_words(error: BaseException) -> str:
    """Say what went wrong in one line; of an error on several ranks, the first one's."""
    failures = getattr(error, "failures", None)
    if failures:
        rank, first = next(iter(failures.items()))
        first = first[0] if isinstance(first, tuple) else first
        return f"rank {rank}: {first}"
    return f"{type(error).__name__}: {error}".splitlines()[0]
