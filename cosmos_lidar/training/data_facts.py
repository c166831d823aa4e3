"""Options that the training data determines: filled in from its manifest, or refused where they contradict it."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cosmos_lidar.errors import UserError
from cosmos_lidar.log import logger
from cosmos_lidar.training.overrides import get_option, set_option

T = TypeVar("T")


@dataclass(frozen=True)
class DataFact:
    """The value of an option as the data has it.

    Attributes:
        value: of the option; the largest valid one where ``at_most``.
        where: file or folder that it was read from.
        at_most: smaller values are valid too.
        suggested: other values are valid too: it takes the place of a default only.
    """

    value: Any
    where: Path
    at_most: bool = False
    suggested: bool = False

    def agrees(self, value: Any) -> bool:
        """Return whether ``value`` fits the data."""
        return value <= self.value if self.at_most else value == self.value


def fill_in(run: T, facts: Mapping[str, DataFact], default: object | None, given: Collection[str] = ()) -> T:
    """Return a copy of a configuration with the options that the data determines.

    Args:
        run: the configuration.
        facts: by option.
        default: the configuration of its recipe: values of ``run`` that differ from it were chosen by somebody, and
            must agree with the data; None if it has none.
        given: options that were named on the command line, even if with the value of ``default``.

    Raises:
        UserError: a chosen value contradicts the data; option, both values and the file are named.
    """
    run = copy.deepcopy(run)
    filled = []
    for key, fact in facts.items():
        value = get_option(run, key)
        if fact.agrees(value):
            continue
        if key in given or default is None or get_option(default, key) != value:
            if fact.suggested:
                continue
            limit = "at most " if fact.at_most else ""
            raise UserError(
                f"{key}={_text(value)} contradicts the data, which has {limit}{_text(fact.value)} ({fact.where}): "
                f"leave {key} out"
            )
        set_option(run, key, fact.value)
        filled.append(f"{key}={_text(fact.value)}")
    if filled:
        files = ", ".join(dict.fromkeys(str(fact.where) for fact in facts.values()))
        logger.info("from %s: %s", files, " ".join(filled))
    return run


def _text(value: Any) -> str:
    return str(value).replace(" ", "")
