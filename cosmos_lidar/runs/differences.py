"""Options that differ between training runs of one family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cosmos_lidar.runs.reading import RunRecord

MOST_OPTIONS = 300
_NAMES = ("family", "recipe")  # columns of the table of runs, as is the name below log.
Differences = dict[str, dict[str, dict[str, Any]]]


def families(runs: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Return runs by family, in their order; those without a readable family under an empty name."""
    found: dict[str, list[RunRecord]] = {}
    for run in runs:
        found.setdefault(run.family, []).append(run)
    return found


def differences(runs: Sequence[RunRecord]) -> Differences:
    """Return family -> option -> name of the run -> value, for every option that has two values in a family.

    Where results go (``log.``) counts nowhere. An option that a run does not have, as it is of another version, is
    missing from its values.
    """
    compared = {name: [run for run in members if run.options] for name, members in families(runs).items() if name}
    found = {name: _differing(members) for name, members in compared.items() if len(members) > 1}
    return {name: options for name, options in found.items() if options}


def _differing(runs: list[RunRecord]) -> dict[str, dict[str, Any]]:
    keys = dict.fromkeys(key for run in runs for key in run.options if _counts(key))
    found = {}
    for key in keys:
        values = {run.name: run.options[key] for run in runs if key in run.options}
        if len(values) < len(runs) or len({repr(value) for value in values.values()}) > 1:
            found[key] = values
        if len(found) >= MOST_OPTIONS:
            break
    return found


def _counts(key: str) -> bool:
    return key not in _NAMES and not key.startswith("log.")
