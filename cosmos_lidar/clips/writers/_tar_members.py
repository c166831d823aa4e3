"""Members of tars without times or owners, so that the same clip gives the same bytes."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import numpy as np


def add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a member."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def add_npy(tar: tarfile.TarFile, name: str, array: np.ndarray) -> None:
    """Add an array as ``.npy`` of float64."""
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array, np.float64))
    add_bytes(tar, name, buffer.getvalue())


def add_npz(tar: tarfile.TarFile, name: str, array: np.ndarray) -> None:
    """Add an array as ``arr_0`` of a compressed ``.npz``."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, array)
    add_bytes(tar, name, buffer.getvalue())


def add_arrays(tar: tarfile.TarFile, name: str, **arrays: Any) -> None:
    """Add arrays by their names as an ``.npz`` that is not compressed."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    add_bytes(tar, name, buffer.getvalue())
