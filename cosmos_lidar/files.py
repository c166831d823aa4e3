"""Files that are whole or not there, and reading tensors without running code."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cosmos_lidar.errors import DataError


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Call ``write`` with a temporary path in the same folder, flush the file to disk, rename it to ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(partial)
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_tensors(path: Path, map_location: str | torch.device = "cpu") -> dict[str, Any]:
    """Return what ``torch.save`` wrote, without running any code that the file may hold.

    Raises:
        DataError: the file is missing, cut short, or holds anything but plain values and tensors.
    """
    wanted = "a .pt file written by this program"
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except FileNotFoundError as error:
        raise DataError("no such file", file=path, wanted=wanted) from error
    except Exception as error:  # of another kind of file the unpickler makes errors of any kind, IndexError too
        problem = f"cannot be read as a checkpoint: {(str(error).splitlines() or [repr(error)])[0]}"
        raise DataError(problem, file=path, wanted=wanted) from error
