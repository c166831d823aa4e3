"""Metric values with a hash of all settings (their protocol)."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COLUMNS = ("name", "value", "low", "high", "n", "protocol")


@dataclass(frozen=True)
class Protocol:
    """Everything that a metric depends on besides the data.

    Attributes:
        metric: its name.
        definition: how, in a sentence or two.
        settings: constants, names of networks and hashes of their weights; plain values only.
    """

    metric: str
    definition: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a JSON file."""
        return {"metric": self.metric, "definition": self.definition, "settings": dict(self.settings)}

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits of SHA-256 over all fields: numbers may be compared where these are equal."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Measurement:
    """One number of a table.

    Attributes:
        name: of the metric, with its unit.
        value: NaN where there is none.
        low: lower end of the 95 % interval; NaN where there is none.
        high: upper end.
        n: number of samples.
        protocol: its protocol.
    """

    name: str
    value: float
    low: float
    high: float
    n: int
    protocol: Protocol

    def row(self) -> dict[str, Any]:
        """Return :data:`COLUMNS` as plain values; a number that does not exist is None."""
        numbers = {key: _finite(getattr(self, key)) for key in ("value", "low", "high")}
        return {"name": self.name, **numbers, "n": self.n, "protocol": self.protocol.hash}


def write_measurements(folder: Path, measurements: Sequence[Measurement]) -> list[Path]:
    """Write ``metrics.json`` and ``metrics.csv``; returns the two files.

    The CSV has one row per number. The JSON has the same ``rows`` and, under ``protocols``, what each hash stands for.

    Args:
        folder: made when absent.
        measurements: in the order of the table.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [measurement.row() for measurement in measurements]
    protocols = {measurement.protocol.hash: measurement.protocol.to_dict() for measurement in measurements}
    files = [folder / "metrics.json", folder / "metrics.csv"]
    files[0].write_text(json.dumps({"rows": rows, "protocols": protocols}, indent=2) + "\n", encoding="utf-8")
    with files[1].open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return files


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
