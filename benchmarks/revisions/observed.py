"""What a program left behind, as values that two revisions can be compared by: names to short texts.

Digests are of content, not of files, where a file also holds what may differ (times, random ids, paths).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import tarfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors import safe_open
from torch import Tensor

Seen = dict[str, str]

TIMES = {"samples/s", "tokens/s", "tflops", "mfu", "memory_gb", "data_s", "compute_s", "optimizer_s", "save_s"}
_CHANGING = re.compile(r"second|_s$|per_s|/s$|time$|duration|torch$|version|^tool$|fingerprint_of_code")
_RANDOM = {"index.uuid", "index.sqlite"}  # Energon's: a random id, and a database whose pages are not in one order


def digest(content: bytes) -> str:
    """Return 16 hexadecimal digits of the SHA-256."""
    return hashlib.sha256(content).hexdigest()[:16]


def metrics(path: Path) -> Seen:
    """Return every cell of a ``metrics.csv`` except those that depend on the machine's speed and memory."""
    rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
    seen = {}
    for row in rows:
        kind = "val" if row.get("loss") == "" else "step"
        cells = {name: value for name, value in row.items() if value and name not in TIMES | {"step"}}
        seen |= {f"{kind} {row['step']} {name}": value for name, value in cells.items()}
    return seen


def files(folder: Path) -> Seen:
    """Return a digest of each file below a folder; of JSON, tars and ``.npz`` of their parts, without times and ids.

    Pages for people are left out: their numbers stand in other files, too.
    """
    seen = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in _RANDOM and path.suffix != ".html":
            name = str(path.relative_to(folder))
            seen |= _PARTS.get(path.suffix, _whole)(path, name)
    return seen


def _whole(path: Path, name: str) -> Seen:
    return {name: digest(path.read_bytes())}


def _members(path: Path, name: str) -> Seen:
    """Return the digests of what is in a tar, without times, which some writers set to now."""
    with tarfile.open(path) as tar:
        contents = {member.name: tar.extractfile(member) for member in tar.getmembers() if member.isfile()}
        return {f"{name} {key}": digest(content.read()) for key, content in contents.items()}


def _arrays(path: Path, name: str) -> Seen:
    """Return the arrays of a ``.npz``."""
    with np.load(path) as arrays:
        return {f"{name} {key}": f"{a.dtype} {list(a.shape)} {digest(a.tobytes())}" for key, a in arrays.items()}


def document(path: Path, prefix: str = "") -> Seen:
    """Return the leaves of a JSON file, without those that hold times or versions."""
    leaves = flat(json.loads(path.read_text(encoding="utf-8")))
    kept = {key: value for key, value in leaves if not any(_CHANGING.search(part) for part in key.split("."))}
    return {f"{prefix} {key}".strip(): value for key, value in kept.items()}


_PARTS = {".json": document, ".tar": _members, ".npz": _arrays}


def configuration(text: str) -> Seen:
    """Return the leaves of a YAML text."""
    return dict(flat(yaml.safe_load(text)))


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of dictionaries and lists under dotted names; tensors as type, shape and digest."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from flat(item, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(item, dict | list | tuple | Tensor) for item in value):
        for index, item in enumerate(value):
            yield from flat(item, f"{prefix}.{index}" if prefix else str(index))
    else:
        yield prefix, tensor(value) if isinstance(value, Tensor) else str(value)


def tensor(value: Tensor) -> str:
    """Return type, shape and digest of a tensor."""
    data = value.detach().cpu().contiguous()
    content = data.reshape(-1).view(torch.uint8).numpy().tobytes() if data.numel() else b""
    return f"{str(data.dtype).removeprefix('torch.')} {list(data.shape)} {digest(content)}"


def weights(path: Path) -> Seen:
    """Return the tensors of a ``.safetensors`` or ``.pt`` file, and what else is in it."""
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            seen = {name: tensor(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
            return seen | {f"metadata {key}": value for key, value in (file.metadata() or {}).items()}
    return dict(flat(torch.load(path, map_location="cpu", weights_only=True)))


@torch.no_grad()
def torchscript(encoder: Path, decoder: Path, whole: Path, shape: tuple[int, ...]) -> Seen:
    """Return the outputs of the three files of a tokenizer on one fixed input."""
    image = torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encode, decode, both = (torch.jit.load(str(path), map_location="cpu") for path in (encoder, decoder, whole))
    encoded = encode(image)
    results = {"encoder": encoded, "decoder": decode(encoded[0]), "whole": both(image)}
    return dict(flat(results))


def exports(folder: Path, shape: tuple[int, ...] | None = None) -> Seen:
    """Return what the exports in a folder hold and compute; ``shape`` is of the input of a tokenizer's TorchScript."""
    seen = {}
    for path in sorted(folder.glob("iter_*")):
        if path.suffix in (".pt", ".safetensors"):
            seen |= {f"{path.name} {key}": value for key, value in weights(path).items()}
    for encoder in sorted(folder.glob("iter_*_enc.jit")):
        stem = encoder.name.removesuffix("_enc.jit")
        outputs = torchscript(encoder, folder / f"{stem}_dec.jit", folder / f"{stem}_ema.jit", shape or (1, 3, 64, 64))
        seen |= {f"{stem} {key}": value for key, value in outputs.items()}
    return seen
