"""Weights as people store them: below the names that wrappers add, and beside options that are no tensors."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from cosmos_lidar.errors import DataError
from cosmos_lidar.files import read_tensors
from cosmos_lidar.log import logger
from cosmos_lidar.models.torchscript import mapped_pickle
from cosmos_lidar.torch_files import is_zip

PLACES = (  # of a checkpoint's weights
    "model", "state_dict", "model_state_dict", "model_state", "module", "network", "net", "weights",
)  # fmt: skip
_WRAPPERS = ("module.", "model.", "network.", "net.")  # of DistributedDataParallel, Lightning, training scripts
_WITHIN = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")  # also in the middle of a name

_EMA = ("net_ema.", "ema_model.", "model_ema.", "module_ema.", "network_ema.", "ema.")  # of training scripts


def read_weights(path: Path, wanted: str) -> Any:
    """Return what a file of weights holds, memory-mapped where it can be.

    Of a file of ``torch.save`` with objects beside the tensors (options, paths) the objects are left out, and named in
    the log: nothing of them is run.

    Args:
        path: of the file.
        wanted: what the caller expects it to hold, for error messages.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return read_tensors(path, wanted, mmap=True)
    except DataError as error:
        if path.suffix in (".safetensors", ".nemo") or not path.is_file() or not is_zip(path):
            raise
        try:
            content, left_out = mapped_pickle(path)
        except ValueError:
            way = "; or its tensors alone: torch.save(network.state_dict(), FILE) where its classes are installed"
            raise error.at(file=path, wanted=wanted + way) from error
        logger.warning("%s: left out what is no tensor: %s", path, ", ".join(left_out[:8]))
        return content


def read_named_weights(path: Path, wanted: str, checksums: bool = True) -> dict[str, Tensor]:
    """Return the tensors of a file of weights by name, from its usual place, after its checksums have been compared.

    Args:
        path: of the file.
        wanted: what the caller expects it to hold, for error messages.
        checksums: compare them, which reads all of the file; without, tensors are read as they are used.

    Raises:
        DataError: it cannot be read, is damaged, or holds no tensors by name.
    """
    if checksums and path.is_file():
        check_checksums(path, wanted)
    content = weights_of(read_weights(path, wanted))
    if not isinstance(content, Mapping):
        raise DataError(f"holds a {type(content).__name__}", file=path, wanted=wanted)
    return {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}


def check_checksums(path: Path, wanted: str) -> None:
    """Compare the checksums that zipped checkpoints hold; torch does not, and loads corrupt weights silently.

    Args:
        path: of the file; of other formats, nothing is compared.
        wanted: what the caller expects it to hold, for error messages.

    Raises:
        DataError: a damaged file.
    """
    if not is_zip(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            damaged = [name for name in names if not _matches_checksum(archive, name)]
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        raise DataError(f"a damaged file ({error})", file=path, wanted=wanted) from error
    if damaged and len(damaged) < len(names):  # all of them: written without checksums, an option of torch
        raise DataError(f"a damaged file: {len(damaged)} members differ from their checksums", file=path,
                        key=damaged[0], wanted="the file copied or downloaded again")  # fmt: skip


def _matches_checksum(archive: zipfile.ZipFile, name: str) -> bool:
    try:
        with archive.open(name) as member:
            while member.read(1 << 24):
                pass
    except zipfile.BadZipFile:
        return False
    return True


def weights_of(content: Any) -> Any:
    """Return the part of a checkpoint that holds its weights; the content itself where no usual name is found."""
    if not isinstance(content, Mapping):
        return content
    for place in PLACES:
        inner = content.get(place)
        if isinstance(inner, Mapping) and any(isinstance(value, Tensor) for value in inner.values()):
            return inner
    return content


def split_ema(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the weights and the EMA weights of a checkpoint that holds both, the latter without their prefix.

    EMA weights are ``net_ema.NAME`` as the published diffusion trainer stores them, ``ema.network-a-b-c`` for ``a.b.c``
    as the published tokenizer trainer does, or have another usual prefix, alone or below the name of a wrapper.
    """
    plain: dict[str, Tensor] = {}
    averaged: dict[str, Tensor] = {}
    for name, value in tensors.items():
        short = _ema_name(name)
        (plain if short is None else averaged)[name if short is None else short] = value
    return plain, averaged


def _ema_name(name: str) -> str | None:
    """Return the name of a tensor without the prefix of EMA weights; None for other tensors."""
    if name.startswith("ema.network-"):
        return name.removeprefix("ema.network-").replace("-", ".")
    for wrapper in ("", *_WRAPPERS):
        for prefix in _EMA:
            if name.startswith(wrapper + prefix):
                return name.removeprefix(wrapper + prefix)
    return None


def unwrap(state: Mapping[str, Tensor], file: Path, keep: str | None = None) -> dict[str, Tensor]:
    """Return tensors without the names that wrappers put before all of theirs, in any nesting; those are logged.

    Args:
        state: tensors by name.
        file: for messages.
        keep: a prefix that names of the network itself have.

    Raises:
        DataError: some names have the prefix of a wrapper and others have not, or two names become one.
    """
    names, taken = {name: name for name in state}, []
    prefixes = [one for one in (*_WITHIN, *_WRAPPERS) if one != keep]
    while prefix := next((one for one in prefixes if names and _all_begin(names.values(), one)), None):
        names = {name: value.removeprefix(prefix) for name, value in names.items()}
        taken.append(prefix)
    for prefix in prefixes:
        count = sum(value.startswith(prefix) for value in names.values())
        if count:
            problem = f"{count} of {len(names)} tensors have the prefix {prefix!r}, the others have not"
            raise DataError(problem, file=file, wanted="the weights of one network")
    taken += [inner for inner in _WITHIN if any(inner in value for value in names.values())]
    names = {name: _without_inner(value) for name, value in names.items()}
    if len(set(names.values())) < len(names):
        raise DataError("two tensors have one name without the prefixes of wrappers", file=file, wanted="one network")
    if taken:
        logger.info("%s: names of tensors without %s", file, " ".join(taken))
    return {short: state[name] for name, short in names.items()}


def _without_inner(name: str) -> str:
    for inner in _WITHIN:
        name = name.replace(inner, "")
    return name


def _all_begin(names: Iterable[str], prefix: str) -> bool:
    return all(name.startswith(prefix) for name in names)
