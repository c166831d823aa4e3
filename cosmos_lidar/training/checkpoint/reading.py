"""Reading sharded checkpoints: tensors onto any mesh, and the rest of the state; pickled code is never executed."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata

from cosmos_lidar.errors import DataError
from cosmos_lidar.files import read_tensors
from cosmos_lidar.training.checkpoint.manifest import verify

STATE = "state.pt"
_METADATA = ".metadata"
_ALLOWED = {
    "torch.distributed.checkpoint.metadata": {
        "Metadata", "TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata", "TensorProperties",
        "MetadataIndex", "StorageMeta", "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.serialization": {"_get_layout"},
    "collections": {"OrderedDict"},
    "pathlib": {"PosixPath"},
    "pathlib._local": {"PosixPath"},
}  # fmt: skip


class _Reader(dcp.FileSystemReader):
    """Reads the index of the tensors, a pickle, without running code that the file may hold."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Return the index."""
        path = Path(self.path) / _METADATA
        try:
            with path.open("rb") as stream:
                metadata = _IndexUnpickler(stream, path).load()
        except DataError:
            raise
        except Exception as error:
            wanted = "a checkpoint as training wrote it"
            raise DataError(f"cannot be read as an index of tensors: {error}", file=path, wanted=wanted) from error
        if getattr(metadata, "storage_meta", None) is None:
            metadata.storage_meta = dcp.metadata.StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        return metadata


class _IndexUnpickler(pickle.Unpickler):
    def __init__(self, stream: io.BufferedReader, path: Path) -> None:
        super().__init__(stream)
        self.path = path

    def find_class(self, module: str, name: str) -> Any:
        plain = module == "torch" and isinstance(getattr(torch, name, None), (torch.dtype, torch.layout))
        if plain or (module == "torch" and name == "Size") or name in _ALLOWED.get(module, ()):
            return super().find_class(module, name)
        wanted = "an index of tensors; the file may be malicious"
        raise DataError(f"refers to {module}.{name}", file=self.path, wanted=wanted)


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
        return f"process {rank}: {first}"
    return f"{type(error).__name__}: {error}".splitlines()[0]
