"""What makes a checkpoint folder whole: a manifest with size and SHA-256 of every file, itself protected."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cosmos_lidar.errors import DataError
from cosmos_lidar.files import file_sha256, flush_to_disk, parse_json

ASIDE = "aside"  # in a run folder: what was moved out of the way of a new run
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

    :func:`put_back` undoes it, should the new one never come.
    """
    if not path.exists():
        return None
    old = path.with_name(f".{path.name}.old")
    if old.exists():
        remove(old)
    return path.rename(old)


def new_aside(folder: Path) -> Path:
    """Make a new folder ``aside/001``, ``aside/002``, … in a run folder, for what is moved out of the way."""
    number = 1 + max((int(path.name) for path in (folder / ASIDE).glob("[0-9]*") if path.name.isdigit()), default=0)
    target = folder / ASIDE / f"{number:03d}"
    target.mkdir(parents=True)
    return target


def remove(path: Path) -> None:
    """Delete a checkpoint; stopped half-way, nothing is left under its name."""
    gone = path.rename(path.with_name(f".{path.name.strip('.')}.gone"))
    shutil.rmtree(gone)


def write_manifest(
    folder: Path, step: int, world: int, metrics: dict[str, float], run: str = "", order: int = 0
) -> None:
    """Describe all files that are in ``folder`` now, and flush everything to disk.

    Args:
        folder: of the checkpoint.
        step: steps that it has seen.
        world: ranks of the run.
        metrics: by which the best are kept.
        run: name of the line of checkpoints that it belongs to, see :func:`new_run`.
        order: of writing, in that line, from 1.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with ThreadPoolExecutor(8) as pool:
        sums = list(pool.map(file_sha256, files))
    document = {
        "version": 1,
        "step": step,
        "run": run,
        "order": order,
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
        if not manifest.exists() and not digest.exists():
            raise DataError("no checkpoint of a run", file=path, wanted=_where(path)) from error
        raise DataError(f"cannot be read: {error}", file=error.filename, wanted=wanted) from error
    if expected != (hashlib.sha256(content).hexdigest() + "\n").encode():
        raise DataError(f"does not agree with {MANIFEST_SUM}", file=manifest, wanted=wanted)
    return parse_json(content)


def _where(path: Path) -> str:
    """Return what is expected of a path that is no checkpoint; of a run, its newest one."""
    for folder in (path, path / "checkpoints"):
        if found := sorted(one.parent for one in folder.glob(f"iter_*/{MANIFEST}")):
            return f"one of its checkpoints, such as {found[-1]}"
    return "a folder iter_N in the checkpoints of a run"


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


def put_back(folder: Path) -> None:
    """Give checkpoints that were put aside their name again, where a kill came before the new one had it.

    For the owner of the run folder alone: a run that saves at this moment needs the name.
    """
    for old in folder.glob(".iter_*.old"):
        path = folder / old.name.removeprefix(".").removesuffix(".old")
        if not path.exists():
            old.rename(path)


def new_run() -> str:
    """Return a name for a new line of checkpoints: what is resumed in the same folder belongs to the same line."""
    return uuid.uuid4().hex


def run_of(path: Path) -> str:
    """Return the line of checkpoints that one belongs to; empty where its manifest, of an earlier version, has none.

    Raises:
        DataError: the manifest is missing or damaged.
    """
    return str(read_manifest(path).get("run", ""))


def seen_steps(path: Path) -> int:
    """Return the steps that a checkpoint has seen, whatever its folder is called.

    Raises:
        DataError: the manifest is missing or damaged.
    """
    return int(read_manifest(path)["step"])


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
