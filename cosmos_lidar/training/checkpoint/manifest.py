"""What makes a checkpoint folder whole: a manifest with size and SHA-256 of every file, itself protected."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cosmos_lidar.errors import DataError
from cosmos_lidar.files import file_sha256, flush_to_disk, parse_json

MANIFEST, MANIFEST_SUM = "manifest.json", "manifest.sha256"
_NAME = re.compile(r"iter_(\d{9})")
_PACKAGES = ("cosmos_lidar", "torch", "lightning", "nemo_toolkit", "megatron-energon", "numpy")


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return the folder of the full checkpoint after ``step`` steps."""
    return folder / f"iter_{step:09d}"


def checkpoint_step(path: Path) -> int:
    """Return the step in the name of a full checkpoint, -1 for other names."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else -1


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoint folders in ``folder``, newest first; they may be damaged."""
    found = [path for path in folder.glob("iter_*") if checkpoint_step(path) >= 0 and path.is_dir()]
    return sorted(found, key=checkpoint_step, reverse=True)


def put_aside(path: Path) -> Path | None:
    """Make room for a new checkpoint of the same step; returns where the present one went, if there is one.

    :func:`newest_good` puts it back, should the new one never come.
    """
    if not path.exists():
        return None
    old = path.with_name(f".{path.name}.old")
    if old.exists():
        remove(old)
    return path.rename(old)


def remove(path: Path) -> None:
    """Delete a checkpoint; stopped half-way, nothing is left under its name."""
    gone = path.rename(path.with_name(f".{path.name.strip('.')}.gone"))
    shutil.rmtree(gone)


def write_manifest(folder: Path, step: int, world: int, metrics: dict[str, float]) -> None:
    """Describe all files that are in ``folder`` now, and flush everything to disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with ThreadPoolExecutor(8) as pool:
        sums = list(pool.map(file_sha256, files))
    document = {
        "version": 1,
        "step": step,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "processes": world,
        "packages": {name: _version(name) for name in _PACKAGES},
        "metrics": metrics,
        "files": {
            str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": digest}
            for path, digest in zip(files, sums, strict=True)
        },
    }
    text = json.dumps(document, indent=1) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    (folder / MANIFEST_SUM).write_text(hashlib.sha256(text.encode()).hexdigest() + "\n", encoding="utf-8")
    for path in (*files, folder / MANIFEST, folder / MANIFEST_SUM, folder):
        flush_to_disk(path)


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint, after comparing it with its checksum.

    Raises:
        DataError: it is missing or damaged; the message names the file.
    """
    manifest, digest = path / MANIFEST, path / MANIFEST_SUM
    wanted = "a checkpoint as training wrote it: take an older one, or copy it again"
    try:
        content = manifest.read_bytes()
        expected = digest.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error}", file=error.filename, wanted=wanted) from error
    if expected != (hashlib.sha256(content).hexdigest() + "\n").encode():
        raise DataError(f"does not agree with {MANIFEST_SUM}", file=manifest, wanted=wanted)
    return parse_json(content)


def verify(path: Path) -> dict[str, Any]:
    """Compare every file of a checkpoint with its manifest, which is returned.

    Raises:
        DataError: the first file that is missing or differs.
    """
    manifest = read_manifest(path)
    names = list(manifest["files"])
    with ThreadPoolExecutor(8) as pool:
        problems = pool.map(lambda name: _problem(path / name, manifest["files"][name]), names)
        for name, problem in zip(names, problems, strict=True):
            if problem:
                wanted = "a checkpoint as training wrote it: take an older one, or copy it again"
                raise DataError(problem, file=path / name, wanted=wanted)
    return manifest


def newest_good(folder: Path, report: Callable[[str], None], below: int | None = None) -> Path | None:
    """Return the newest checkpoint in ``folder`` whose files are all as they were written, None without one.

    Args:
        folder: the ``checkpoints`` folder of a run.
        report: called with a message for each newer one that is damaged.
        below: look only at checkpoints of earlier steps.
    """
    _put_back(folder)
    for path in checkpoints_in(folder):
        if below is not None and checkpoint_step(path) >= below:
            continue
        try:
            verify(path)
        except DataError as error:
            report(f"skipped the damaged checkpoint {path}: {error}")
        else:
            return path
    return None


def newest_name(folder: Path) -> str:
    """Return the name of the newest checkpoint in ``folder``, unread; ``none`` without one."""
    return next((path.name for path in checkpoints_in(folder)), "none")


def _put_back(folder: Path) -> None:
    """Give checkpoints that were put aside their name again, where a kill came before the new one had it."""
    for old in folder.glob(".iter_*.old"):
        path = folder / old.name.removeprefix(".").removesuffix(".old")
        if not path.exists():
            with suppress(OSError):  # another rank of the run did it
                old.rename(path)


def _problem(path: Path, record: dict[str, Any]) -> str:
    try:
        size = path.stat().st_size
        if size != record["bytes"]:
            return f"{size} bytes instead of {record['bytes']}"
        return "" if file_sha256(path) == record["sha256"] else "its content has changed since it was written (SHA-256)"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
