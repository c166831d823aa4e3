"""Members of tars without times or owners, so that the same clip gives the same bytes."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import numpy as np


def add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a member."""
    _add(tar, name, io.BytesIO(content))


def add_npy(tar: tarfile.TarFile, name: str, array: np.ndarray) -> None:
    """Add an array as ``.npy`` of float64."""
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array, np.float64))
    _add(tar, name, buffer)


def add_npz(tar: tarfile.TarFile, name: str, array: np.ndarray) -> None:
    """Add an array as ``arr_0`` of a compressed ``.npz``."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, array)
    _add(tar, name, buffer)


def add_arrays(tar: tarfile.TarFile, name: str, **arrays: Any) -> None:
    """Add arrays by their names as an ``.npz`` that is not compressed."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    _add(tar, name, buffer)


def _add(tar: tarfile.TarFile, name: str, content: io.BytesIO) -> None:
    info = tarfile.TarInfo(name)
    info.size = content.seek(0, io.SEEK_END)
    content.seek(0)
    tar.addfile(info, content)
