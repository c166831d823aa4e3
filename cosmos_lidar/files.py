"""Atomic file writing, SHA-256 checksums, and safe reading of tensors, YAML and CSV: the one way to do each.

Importing this module does not import torch.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import tarfile
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cosmos_lidar.bounds import read_file
from cosmos_lidar.errors import DataError
from cosmos_lidar.log import warn_once_a_minute
from cosmos_lidar.tars import DataTarInfo

PARTIAL = ".part"  # end of the name of a file that is being written; a killed process leaves it behind
NEMO_CONFIG, NEMO_WEIGHTS = "model_config.yaml", "model_weights.safetensors"  # in a .nemo file
_UMASK = os.umask(0o077)  # it can only be read by setting it
os.umask(_UMASK)
_PERMISSIONS = 0o666 & ~_UMASK  # of new files; safetensors makes its own for their owner alone
_BLOCK = 1 << 22
_LARGEST_CONFIG = 1 << 20
_LARGEST_HEADER = 100_000_000  # bytes, of a safetensors file: the limit of its library
_LARGEST_TEXT = 1 << 28
_MOST_NODES = 1_000_000


@contextmanager
def atomic_write(path: str | Path, sync: bool = False) -> Iterator[Path]:
    """Write a file atomically: give a temporary path, renamed to ``path`` when the block ends without an error.

    Missing folders are made. Several processes may write the same file at once; the last one wins.

    Args:
        path: of the finished file.
        sync: flush the file and its entry in the folder to disk, so that it survives a power failure.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{PARTIAL}")
    try:
        yield partial
        partial.chmod(_PERMISSIONS)
        if sync:
            flush_to_disk(partial)
        partial.replace(path)
        if sync:
            flush_to_disk(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk (fsync)."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_partial(folder: Path) -> None:
    """Remove the partial files of killed processes from a folder; nothing may be writing there."""
    for leftover in folder.glob(f"*{PARTIAL}"):
        leftover.unlink(missing_ok=True)


def visible_files(folder: Path, pattern: str) -> list[Path]:
    """Return the files below a folder that match a pattern, by name.

    Left out are folders, links that lead nowhere, and hidden entries (``._000000.bin`` and ``.AppleDouble`` of macOS,
    ``.Trash``, ``.ipynb_checkpoints``), which :meth:`pathlib.Path.glob` lists like all others.
    """
    return [path for path in visible(folder, pattern) if path.is_file()]


def visible(folder: Path, pattern: str) -> list[Path]:
    """Return files and folders below a folder that match a pattern, by name, without hidden ones."""
    return sorted(
        path
        for path in folder.glob(pattern)
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def is_write_failure(error: BaseException) -> bool:
    """Tell whether an error means that a file could not be written: disk full, quota, read-only, gone, not permitted.

    torch and safetensors raise errors of their own kinds, which are recognized by their text.
    """
    if isinstance(error, OSError):
        return not isinstance(error, ConnectionError)
    text = str(error)
    if isinstance(error, RuntimeError):  # torch.save, torch.jit.save
        return "PytorchStreamWriter" in text or "inline_container" in text
    return type(error).__name__ == "SafetensorError" and "i/o error" in text.lower()


@contextmanager
def write_may_fail(what: str, then: str) -> Iterator[None]:
    """Log a write inside the block that fails, at most once a minute, instead of raising its error.

    For what a long run can do without: a log, an image, an export that can be made again.

    Args:
        what: is written, with its path; the topic of :func:`~cosmos_lidar.log.warn_once_a_minute`.
        then: what follows for the user.
    """
    try:
        yield
    except Exception as error:
        if not is_write_failure(error):
            raise
        reason = (str(error).strip().splitlines() or [repr(error)])[0]
        warn_once_a_minute(what, "%s could not be written (%.200s): %s", what, reason, then)


def append_whole(path: Path, content: bytes) -> None:
    """Append ``content`` to a file, or leave the file as it was.

    Raises:
        OSError: it could not be written.
    """
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        before = os.fstat(handle).st_size
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(handle, rest) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(handle, before)
            raise
    finally:
        os.close(handle)


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON file atomically; missing folders are made.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(document, indent=2, allow_nan=False)
    with atomic_write(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def read_tensors(path: Path, wanted: str, mmap: bool = False) -> Any:
    """Return the tensors of a ``.safetensors`` or ``.nemo`` file, or what ``torch.save`` wrote; pickles are not run.

    Args:
        path: of the file.
        wanted: what the caller expects it to hold, for error messages.
        mmap: map the file into memory where its format allows it, so that tensors are read when they are used.

    Raises:
        DataError: the file is missing, cut short, holds anything but plain values and tensors, or promises more than
            it has.
    """
    import torch
    from safetensors.torch import load_file

    from cosmos_lidar.torch_files import (  # imports numpy, which commands that only answer do without
        check_torch_file,
        is_plain_archive,
    )

    if not path.is_file():
        raise DataError("no such file", file=path, wanted=wanted)
    if path.suffix == ".nemo":
        return read_nemo(path)[1]
    safe = path.suffix == ".safetensors"
    try:
        if safe:
            return load_file(path)
        check_torch_file(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap and is_plain_archive(path))
    except Exception as error:  # of other kinds of files the readers make errors of any kind, IndexError too
        kind = "a safetensors file" if safe else "a checkpoint that is safe to read"
        reason = (str(error).strip().splitlines() or [repr(error)])[0]
        if _ends_early(path, safe):
            reason = "it ends too early, as after an interrupted download or copy"
        raise DataError(f"not {kind} ({reason:.160})", file=path, wanted=wanted) from error


def _ends_early(path: Path, safe: bool) -> bool:
    """Whether a file that cannot be read begins as one of weights does, and its end is missing."""
    with suppress(OSError, zipfile.BadZipFile), path.open("rb") as file:
        start = file.read(8)
        if not safe:
            return start.startswith(b"PK\x03\x04") and not zipfile.is_zipfile(path)  # raises for an end that is broken
        header = int.from_bytes(start, "little")
        table = file.read(header) if header <= _LARGEST_HEADER else b""
        ends = [int(end) for end in re.findall(rb'"data_offsets":\[\d+,(\d{1,18})\]', table)]
        return len(start) < 8 or (table[:1] == b"{" and file.seek(0, os.SEEK_END) < 8 + header + max(ends, default=0))
    return False


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file.

    Raises:
        DataError: above 256 MB, or no plain file.
        OSError: it cannot be read.
        UnicodeDecodeError: not UTF-8.
    """
    return read_file(path, "a text file", _LARGEST_TEXT).decode("utf-8")


def parse_yaml(text: str) -> Any:
    """Parse YAML; tags that would build objects are refused, and aliases that would fill the memory.

    Ten lines of aliases to aliases are a list of a billion items as soon as somebody walks through it.

    Raises:
        yaml.YAMLError: that, nested too deeply, or no YAML.
    """
    import yaml

    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        if _expanded(root, {}) > _MOST_NODES:
            raise yaml.YAMLError(f"aliases that stand for more than {_MOST_NODES} values")
        return loader.construct_document(root)
    except (ValueError, RecursionError, TypeError, OverflowError) as error:  # numbers and times that are none
        raise yaml.YAMLError(f"{error or type(error).__name__}") from error
    finally:
        loader.dispose()


def _expanded(node: Any, known: dict[int, int]) -> int:
    """Return how many values a node of YAML stands for, with its aliases written out."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = _MOST_NODES + 1  # what an alias inside of itself stands for
    parts = node.value if isinstance(node.value, list) else []
    pairs = (part if isinstance(part, tuple) else (part,) for part in parts)
    known[id(node)] = 1 + sum(_expanded(part, known) for pair in pairs for part in pair)
    return known[id(node)]


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: no JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read_json_object(path: Path, what: str, wanted: str, limit: int | None = None) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Args:
        path: of the file.
        what: it is, for messages: "a configuration".
        wanted: for messages: what the object has in it.
        limit: largest size in bytes; None for the usual limit of a text file.

    Raises:
        DataError: it cannot be read, is above the limit, or holds no JSON object.
    """
    try:
        found = parse_json(read_file(path, what, _LARGEST_TEXT if limit is None else limit))
    except (OSError, ValueError) as error:
        raise DataError(f"not readable: {error!s:.160}", file=path, wanted=wanted) from error
    if not isinstance(found, dict):
        raise DataError(f"holds a {type(found).__name__}", file=path, wanted=wanted)
    return found


def read_yaml(path: Path, wanted: str) -> dict[Any, Any]:
    """Return the mapping in a YAML file; tags that would build objects are refused.

    Args:
        path: of the file.
        wanted: what the caller expects it to hold, for error messages.

    Raises:
        DataError: the file is missing, no YAML, or no mapping.
    """
    import yaml

    try:
        document = parse_yaml(read_text(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"cannot be read: {error}", file=path, wanted=wanted) from error
    if not isinstance(document, dict):
        raise DataError("not a mapping", file=path, wanted=wanted)
    return document


def read_rows(path: str | Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a header line, as text by column; missing fields are empty."""
    with Path(path).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, restval=""))


def read_header(path: Path, wanted: str) -> dict[str, str]:
    """Return the metadata in the header of a ``.safetensors`` file; its tensors are not read.

    Raises:
        DataError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise DataError(f"not a safetensors file ({error!s:.160})", file=path, wanted=wanted) from error


def write_nemo(path: Path, config: str, weights: dict[str, Any]) -> None:
    """Write a ``.nemo`` file: a tar of ``model_config.yaml`` and ``model_weights.safetensors``, no pickle in it.

    Args:
        path: of the file; replaced atomically.
        config: YAML.
        weights: tensors by name.
    """
    from safetensors.torch import save

    contents = {NEMO_CONFIG: config.encode(), NEMO_WEIGHTS: save({k: v.contiguous() for k, v in weights.items()})}
    with atomic_write(path, sync=True) as partial, tarfile.open(partial, "w:") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def read_nemo(path: Path) -> tuple[dict[Any, Any], dict[str, Any]]:
    """Return configuration and tensors of a ``.nemo`` file of :func:`write_nemo`; nothing is unpacked, run or pickled.

    Raises:
        DataError: no such file, or a tar with anything else in it: pickles, links, other paths, objects in YAML.
    """
    from safetensors.torch import load

    wanted = f"a tar of {NEMO_CONFIG} and {NEMO_WEIGHTS} alone, as TrainedModel.save_to writes it"
    if not path.is_file():
        raise DataError("no such file", file=path, wanted=wanted)
    try:
        with tarfile.open(path, "r:", tarinfo=DataTarInfo) as tar:
            members = [(member.name, member) for member in tar]
            if sorted(name for name, _ in members) != [NEMO_CONFIG, NEMO_WEIGHTS]:
                raise ValueError(f"it holds {', '.join(name for name, _ in members)}")
            found = dict(members)
            plain = all(member.isreg() and member.sparse is None for member in found.values())
            if not plain or found[NEMO_CONFIG].size > _LARGEST_CONFIG:
                raise ValueError("a link, or a configuration of more than 1 MB")
            parts = {name: tar.extractfile(member) for name, member in found.items()}
            config, weights = (stream.read() for stream in (parts[NEMO_CONFIG], parts[NEMO_WEIGHTS]) if stream)
        document = parse_yaml(config.decode())
        if not isinstance(document, dict):
            raise ValueError(f"{NEMO_CONFIG} is no mapping")
        return document, load(weights)
    except Exception as error:  # tarfile, yaml and safetensors have errors of their own
        reason = (str(error).strip().splitlines() or [repr(error)])[0]
        raise DataError(f"not a .nemo file that is safe to read ({reason:.160})", file=path, wanted=wanted) from error
