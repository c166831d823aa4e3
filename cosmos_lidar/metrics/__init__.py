"""Metrics, one file each: a file in this folder that has ``METRIC`` is found by listing, nothing is edited.

A metric ``metrics/NAME.py`` has ``METRIC = Metric(…)``: which samples it takes, what it measures, in which columns of
which commands it appears, and ``start``, which begins an accumulator. Accumulators of batches, clips and ranks are
merged, so that a result is that of all samples at once:

```python
from cosmos_lidar.metrics import Metric
from cosmos_lidar.metrics.mean import MeanOfImages

def brightness_error(made, recorded):
    return (made.mean((1, 2, 3)) - recorded.mean((1, 2, 3))).abs()

METRIC = Metric(
    sample="images",
    definition="difference of the mean brightness",
    columns={"validation": ("brightness",), "reconstruct": ("brightness",)},
    start=lambda limits: MeanOfImages(brightness=brightness_error),
)
```

``evaluate``, ``autoencode``, ``reconstruct``, ``generate-lidar`` and the validation of the tokenizers show all columns
that are meant for them. Metrics that need weights of a network (LPIPS, FVD) have options of their own instead.
"""

from __future__ import annotations

import ast
import copy
import functools
import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, get_args

from cosmos_lidar.errors import UserError

if TYPE_CHECKING:
    from cosmos_lidar.metrics.lidar import RangeProtocol
    from cosmos_lidar.metrics.protocol import Protocol

Door = Literal["evaluate", "reconstruct", "generate", "validation"]
SampleKind = Literal["ranges", "images"]
Sample = TypeVar("Sample", contravariant=True)


class Accumulator(ABC, Generic[Sample]):
    """Sums of a metric over samples in any order and grouping. It can be pickled: ranks send theirs to each other."""

    @abstractmethod
    def add(self, sample: Sample) -> None:
        """Measure one more sample, a :class:`~cosmos_lidar.metrics.pairs.RangePair` or ``ImagePair``."""

    @abstractmethod
    def merge(self, other: Any) -> None:
        """Add the samples of another accumulator of the same metric and settings."""

    @abstractmethod
    def result(self) -> dict[str, float]:
        """Return every column by name; NaN where there is no value."""

    def document(self) -> dict[str, Any]:
        """Return what is written to JSON, plain values, None where there is no value; the columns by default."""
        return {name: value if math.isfinite(value) else None for name, value in self.result().items()}


@dataclass(frozen=True)
class Metric:
    """A metric that is found by listing.

    Attributes:
        sample: what its accumulators are given: ``ranges`` (:class:`~cosmos_lidar.metrics.pairs.RangePair`) or
            ``images`` (:class:`~cosmos_lidar.metrics.pairs.ImagePair`).
        definition: how it is computed, in a sentence or two; part of its protocol.
        columns: names of results by the command that shows them: ``evaluate`` (and ``autoencode``), ``reconstruct``,
            ``generate`` (``generate-lidar``), ``validation`` (in training, as ``val/NAME``).
        start: (range limits and constants; the defaults for images) -> an empty accumulator.
        settings: constants that results depend on, plain values; part of its protocol.
        needs_points: it uses ``RangePair.points``, and is left out where point clouds are.

    Raises:
        UserError: an unknown command in ``columns``.
    """

    sample: SampleKind
    definition: str
    columns: Mapping[Door, tuple[str, ...]]
    start: Callable[[RangeProtocol], Accumulator[Any]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    needs_points: bool = False

    def __post_init__(self) -> None:
        for door in self.columns:
            if door not in get_args(Door):
                raise UserError(f"metric: unknown command {door!r} in columns; valid: {', '.join(get_args(Door))}")

    def protocol(self, name: str, **settings: Any) -> Protocol:
        """Return the protocol of its numbers.

        Args:
            name: of the metric.
            settings: what they depend on besides ``self.settings``.
        """
        from cosmos_lidar.metrics.protocol import Protocol

        return Protocol(name, self.definition, {**self.settings, **settings})


def metric_names(door: Door | None = None) -> list[str]:
    """Return the names of all metrics, those of their files; nothing is imported, for ``--help``.

    Args:
        door: only metrics that this command shows, as far as ``columns`` is written out as a dictionary.
    """
    files = (file for folder in __path__ for file in Path(folder).glob("[!_]*.py"))
    doors = {file.stem: _doors(ast.parse(file.read_text(encoding="utf-8"))) for file in files}
    return sorted(name for name, found in doors.items() if found is not None and (door is None or door in found))


def _doors(tree: ast.Module) -> set[object] | None:
    """Return the keys of ``columns`` of the ``METRIC`` that a file assigns; None without one."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(getattr(one, "id", "") == "METRIC" for one in node.targets):
            columns = [one.value for one in getattr(node.value, "keywords", ()) if one.arg == "columns"]
            keys = [key for value in columns for key in getattr(value, "keys", ())]
            return {key.value for key in keys if isinstance(key, ast.Constant)}
    return None


def find_metrics(door: Door, sample: SampleKind) -> dict[str, Metric]:
    """Return the metrics that a command shows and that take these samples, by name.

    Raises:
        UserError: two of them have a column of the same name.
    """
    found = {
        name: metric
        for name, metric in _import_all(tuple(__path__)).items()
        if door in metric.columns and metric.sample == sample
    }
    owners: dict[str, str] = {}
    for name, metric in found.items():
        for column in metric.columns[door]:
            if column in owners:
                raise UserError(f"metrics {owners[column]} and {name}: both have a column {column!r} of {door}")
            owners[column] = name
    return found


@functools.cache  # scores are made for every batch and clip
def _import_all(folders: tuple[str, ...]) -> dict[str, Metric]:
    return {name: importlib.import_module(f"{__name__}.{name}").METRIC for name in metric_names()}


class Scores:
    """Accumulators of all metrics of a command, fed and merged together.

    Args:
        door: the command.
        sample: of which samples.
        limits: range limits and constants; not used by metrics of images.
        points: samples have point clouds; without them, metrics that need them are left out.
    """

    def __init__(
        self, door: Door, sample: SampleKind, limits: RangeProtocol | None = None, points: bool = False
    ) -> None:
        from cosmos_lidar.metrics.lidar import RangeProtocol

        self.columns: dict[str, tuple[str, ...]] = {}
        self.accumulators: dict[str, Accumulator[Any]] = {}
        self.left_out: list[str] = []
        for name, metric in find_metrics(door, sample).items():
            if metric.needs_points and not points:
                self.left_out.append(name)
                continue
            self.columns[name] = metric.columns[door]
            self.accumulators[name] = metric.start(limits or RangeProtocol())

    def add(self, sample: Any) -> None:
        """Measure one more sample with every metric."""
        for accumulator in self.accumulators.values():
            accumulator.add(sample)

    def merge(self, other: Scores) -> None:
        """Add the samples of other scores of the same command and settings."""
        for name, accumulator in self.accumulators.items():
            accumulator.merge(other.accumulators[name])

    def result(self) -> dict[str, float]:
        """Return the columns of the command, in the order of the metrics' names; NaN where there is no value."""
        found: dict[str, float] = {}
        for name, accumulator in self.accumulators.items():
            values = accumulator.result()
            found |= {column: values[column] for column in self.columns[name]}
        return found

    def document(self) -> dict[str, Any]:
        """Return what JSON files hold; None under the name of a metric that was left out."""
        parts: dict[str, Any] = dict.fromkeys(self.left_out)
        for accumulator in self.accumulators.values():
            parts |= accumulator.document()
        return parts


def column_names(door: Door, sample: SampleKind) -> tuple[str, ...]:
    """Return the columns of a command, as :meth:`Scores.result` orders them."""
    return tuple(column for metric in find_metrics(door, sample).values() for column in metric.columns[door])


def pooled(scores: Sequence[Scores]) -> dict[str, float]:
    """Return the columns of all samples of scores of the same command and settings, such as those of batches and ranks.

    Args:
        scores: at least one; they are left as they are.
    """
    everything = copy.deepcopy(scores[0])
    for one in scores[1:]:
        everything.merge(one)
    return everything.result()
