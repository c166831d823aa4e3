"""Data-loader and random-number states as plain trees of lists, dicts, numbers and tensors.

A checkpoint made of such trees loads with ``torch.load(weights_only=True)``: no code in the file is ever run.
"""

from __future__ import annotations

import random
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch

from cosmos_lidar.errors import DataError

_KIND = "__kind__"


def to_plain(value: object) -> object:
    """Return ``value`` as a plain tree that :func:`from_plain` turns back.

    Raises:
        TypeError: something that is neither plain, numpy, torch nor a loader state of Energon.
    """
    if value is None or isinstance(value, (bool, int, float, str, bytes, torch.Tensor)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return {_KIND: "ndarray", "items": [value.tobytes(), value.dtype.str, list(value.shape)]}
    if type(value) is list:
        return [to_plain(item) for item in value]
    if type(value) is tuple:
        return {_KIND: "tuple", "items": [to_plain(item) for item in value]}
    if isinstance(value, dict) and (type(value) is dict or type(value).__name__ in _loader_classes()):
        return {_KIND: type(value).__name__, "items": [[to_plain(k), to_plain(v)] for k, v in value.items()]}
    if is_dataclass(value) and type(value).__name__ in _loader_classes():
        items = [[field.name, to_plain(getattr(value, field.name))] for field in fields(value)]
        return {_KIND: type(value).__name__, "items": items}
    raise TypeError(f"a {type(value).__module__}.{type(value).__name__} cannot be stored in a checkpoint")


def from_plain(tree: Any) -> Any:
    """Return what :func:`to_plain` was given.

    Raises:
        DataError: the tree names a class that is not in the list of loader states.
    """
    if isinstance(tree, list):
        return [from_plain(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    kind, items = tree[_KIND], tree["items"]
    if kind == "ndarray":
        return np.frombuffer(items[0], items[1]).reshape(items[2]).copy()
    if kind == "tuple":
        return tuple(from_plain(item) for item in items)
    values = {from_plain(key): from_plain(value) for key, value in items}
    if kind == "dict":
        return values
    made = _loader_classes().get(kind)
    if made is None:
        raise DataError(f"unknown type of state {kind!r} in the checkpoint", wanted="a checkpoint of this program")
    return made(values) if issubclass(made, dict) else made(**values)


def random_state(with_cuda: bool) -> Any:
    """Return the state of python's, numpy's and torch's random numbers as a plain tree."""
    state = {"python": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state()}  # noqa: NPY002
    if with_cuda:
        state["cuda"] = torch.cuda.get_rng_state()
    return to_plain(state)


def set_random_state(tree: Any) -> None:
    """Put back what :func:`random_state` returned."""
    state = from_plain(tree)
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def _loader_classes() -> dict[str, type]:
    from megatron.energon.flavors.webdataset.sample_loader import SliceState
    from megatron.energon.rng import SystemRngState
    from megatron.energon.savable_loader import SavableDataLoaderState, SavableDatasetCheckpoint, SavableDatasetState
    from megatron.energon.state import FlexState

    loader = (SavableDataLoaderState, SavableDatasetCheckpoint, SavableDatasetState)
    return {kind.__name__: kind for kind in (*loader, SliceState, SystemRngState, FlexState)}
