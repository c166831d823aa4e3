"""Options that differ from those a checkpoint was trained with: each takes effect, or is refused by name.

What a change does is declared with the option (``setting(…, on_resume=…)``), or for all options of a dataclass by its
class variable ``ON_RESUME``; those without a declaration follow the dataclass they are in.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from cosmos_lidar.errors import UserError
from cosmos_lidar.files import read_yaml
from cosmos_lidar.training.config import FIXED, NEW_DATA, QUIET, START, AnyConfig
from cosmos_lidar.training.overrides import get_option, leaves, set_option

RunT = TypeVar("RunT", bound=AnyConfig)
_SECTIONS = {"model": FIXED, "data": NEW_DATA}  # where the family's dataclass declares nothing


@dataclass(frozen=True)
class Change:
    """An option that differs from that of the checkpoint.

    Attributes:
        key: dotted.
        old: value that the checkpoint was trained with.
        new: value of this run.
        kind: what a change of it does.
    """

    key: str
    old: Any
    new: Any
    kind: str

    def __str__(self) -> str:
        """Such as ``optim.lr: 0.002 -> 1e-05``."""
        return f"{self.key}: {_text(self.old)} -> {_text(self.new)}"


def find_changes(run: AnyConfig, path: Path) -> list[Change]:
    """Return the options of ``run`` that differ from those in a ``config.yaml``, in the order of declaration.

    Options that the file does not have, as an earlier version did not, are taken to be unchanged.

    Raises:
        DataError: the file is missing or no YAML mapping.
    """
    kinds = dict(_kinds(run))
    before = copy.deepcopy(run)
    for key, value in leaves(read_yaml(path, "the options that the checkpoint was trained with")):
        try:
            set_option(before, key, value)
        except UserError:  # an option of an earlier version
            continue
    found = [Change(key, get_option(before, key), get_option(run, key), kind) for key, kind in kinds.items()]
    return [change for change in found if not _same(change.old, change.new)]


def refuse_changes(run: AnyConfig, changes: list[Change], checkpoint: Path) -> None:
    """Refuse changes that would have no effect, or that the state in a checkpoint does not allow.

    Raises:
        UserError: the options, each with its old and its new value, and what to do.
    """
    fixed = [change for change in changes if change.kind == FIXED]
    if fixed:
        raise UserError(
            f"{_list(fixed)}: cannot change after the start of a run, and {checkpoint} was trained with the first "
            "value: leave it as it was, or trainer.resume=none starts from scratch"
        )
    start = [change for change in changes if change.kind == START and change.new and not _reads_frozen(run)]
    if start:
        raise UserError(
            f"{_list(start)}: has no effect on resume, as the weights are those of {checkpoint}: leave it as it was or "
            "empty, or trainer.resume=none starts from scratch"
        )
    data = [change for change in changes if change.kind == NEW_DATA]
    if data and not run.trainer.restart_data:
        raise UserError(
            f"{_list(data)}: the place in the data that {checkpoint} holds is one of the first value: leave it as it "
            "was, or trainer.restart_data=true begins a new shuffle of the data"
        )


def as_done(run: RunT, changes: list[Change]) -> RunT:
    """Return the configuration to record: options that have no effect on resume keep the value that had one."""
    recorded = copy.deepcopy(run)
    for change in changes:
        if change.kind == START and not _reads_frozen(run):
            set_option(recorded, change.key, change.old)
    return recorded


def restarts_data(changes: list[Change]) -> bool:
    """Tell whether the data begins a new shuffle."""
    return any(change.kind == NEW_DATA for change in changes)


def worth_telling(changes: list[Change]) -> list[Change]:
    """Return the changed options that a run logs at its start."""
    return [change for change in changes if change.kind != QUIET]


def _kinds(run: Any, prefix: str = "", inherited: str = FIXED) -> Iterator[tuple[str, str]]:
    own = getattr(type(run), "ON_RESUME", inherited)
    for field in fields(run):
        key, value = prefix + field.name, getattr(run, field.name)
        if is_dataclass(value):
            yield from _kinds(value, f"{key}.", own if prefix else _SECTIONS.get(field.name, own))
        else:
            yield key, field.metadata.get("on_resume", own)


def _reads_frozen(run: AnyConfig) -> bool:
    return bool(run.trainer.checkpoint_trained_only)


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, str) and isinstance(new, str) and old and new:
        return old == new or Path(old).resolve() == Path(new).resolve()
    return bool(old == new)


def _list(changes: list[Change]) -> str:
    return ", ".join(str(change) for change in changes)


def _text(value: Any) -> str:
    return '""' if value == "" else str(value).lower() if isinstance(value, bool) else str(value).replace(" ", "")
