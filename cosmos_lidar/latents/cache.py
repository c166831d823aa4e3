"""Latent cache on disk, keyed by a hash of everything that latents depend on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cosmos_lidar.errors import DataError
from cosmos_lidar.files import atomic_write, read_header, read_tensors
from cosmos_lidar.log import logger

_VERSION = 1  # version of the encoding: increment when the same frames and weights give other latents


def weights_hash(network: nn.Module) -> str:
    """Return a SHA-256 of names and values of the weights: equal for every file format."""
    return tensors_hash(network.state_dict())


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """Return a SHA-256 of names and values of tensors."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def frames_hash(frames: np.ndarray | Iterable[np.ndarray]) -> str:
    """Return a SHA-256 of images (T, H, W, …), as one array or in blocks of any size."""
    digest, count, kind = hashlib.sha256(), 0, ""
    for block in [frames] if isinstance(frames, np.ndarray) else frames:
        count += len(block)
        kind = f"{block.dtype} {block.shape[1:]}"
        digest.update(np.ascontiguousarray(block))
    digest.update(f"{count} {kind}".encode())
    return digest.hexdigest()


def latent_key(frames: str, weights: str, **settings: object) -> str:
    """Return the name of an entry: of the hashes of frames and weights, and of every setting that changes latents.

    Args:
        frames: :func:`frames_hash`.
        weights: :func:`weights_hash`.
        **settings: plain values, such as dtype, crop, tile.
    """
    content = {"version": _VERSION, "frames": frames, "weights": weights, **settings}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


class LatentCache:
    """A folder of cached latents, safe for concurrent processes.

    Args:
        folder: made when absent.
        limit_bytes: where given, the least recently used entries are deleted above that size.

    Attributes:
        hits: number of entries found.
        misses: number of entries not found.
    """

    def __init__(self, folder: str | Path, limit_bytes: int | None = None) -> None:
        self.folder, self.limit_bytes = Path(folder), limit_bytes
        self.hits = self.misses = 0

    def get(self, key: str) -> dict[str, Tensor] | None:
        """Return the tensors of an entry, on the CPU, or None. Damaged entries are deleted with a warning."""
        path = self._path(key)
        found = self._read(path) if path.is_file() else None
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        os.utime(path)
        return found

    def put(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Store the tensors of an entry, atomically.

        Raises:
            DataError: the disk is full, or another failure to write.
        """
        from safetensors.torch import save

        held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        path = self._path(key)
        try:
            with atomic_write(path) as partial:
                partial.write_bytes(save(held, {"sha256": _digest(held)}))
        except OSError as error:
            raise DataError(f"cannot write: {error.strerror}", file=path, wanted="a folder with free space") from error
        self._shrink()

    def get_or_make(self, key: str, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        """Return the tensors of an entry; if there is none, compute it with ``make`` and store it."""
        found = self.get(key)
        if found is None:
            found = make()
            self.put(key, found)
        return found

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"

    @staticmethod
    def _read(path: Path) -> dict[str, Tensor] | None:
        wanted = "an entry of the latent cache"
        with suppress(DataError):
            tensors = read_tensors(path, wanted)
            if read_header(path, wanted).get("sha256") == _digest(tensors):
                return tensors
        logger.warning("%s is damaged; it will be recomputed", path)
        path.unlink(missing_ok=True)
        return None

    def _shrink(self) -> None:
        if self.limit_bytes is None:
            return
        entries = sorted((p.stat().st_mtime, p.stat().st_size, p) for p in self.folder.rglob("*.safetensors"))
        size = sum(size for _, size, _ in entries)
        for _, bytes_, path in entries[:-1]:
            if size <= self.limit_bytes:
                break
            path.unlink(missing_ok=True)
            size -= bytes_


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
