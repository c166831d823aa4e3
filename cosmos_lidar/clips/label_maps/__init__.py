"""Label maps: from the semantic classes of a dataset to those of its segmentation benchmark, one YAML file each.

A file ``NAME.yaml`` has ``classes``, the names of the classes from 0, which is ignored, and ``map``, the class of each
number that the dataset has. Adding a map is adding a file; a file anywhere can be named by its path.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.files import read_yaml

_WANTED = "a label map: classes, a list of names; map, {number in the dataset: number of the class}"
_MOST_CLASSES, _LARGEST_ID = 256, (1 << 16) - 1


@dataclass(frozen=True)
class LabelMap:
    """Classes of a benchmark, and which of them each number of a dataset is.

    Attributes:
        name: of the map.
        classes: names of the classes; the first one is ignored in training and evaluation.
        table: (65536,) int16 class of each number; -1 of numbers that the dataset does not have.
    """

    name: str
    classes: tuple[str, ...]
    table: np.ndarray

    def apply(self, labels: np.ndarray, *, points: int | None = None, file: str | Path | None = None) -> np.ndarray:
        """Return uint8 classes of labels, in their shape.

        Args:
            labels: integers, numbers of the dataset.
            points: number of points that the labels are of.
            file: for messages.

        Raises:
            DataError: labels of another number than points, or numbers that the dataset does not have.
        """
        if points is not None and len(labels) != points:
            raise DataError(f"{len(labels)} labels of {points} points", file=file, wanted="one label per point")
        if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) <= _LARGEST_ID:
            found = f"labels from {labels.min()} to {labels.max()}"
            raise DataError(found, file=file, wanted=f"0 to {_LARGEST_ID}")
        classes = self.table[labels]
        unknown = np.unique(labels[classes < 0])
        if len(unknown):
            some = ", ".join(map(str, unknown[:8]))
            wanted = f"those of the label map {self.name}"
            raise DataError(f"{int((classes < 0).sum())} labels of unknown classes {some}", file=file, wanted=wanted)
        return classes.astype(np.uint8)


def label_map_names() -> list[str]:
    """Return the names of the maps that there are."""
    found = (entry.name for entry in resources.files(__package__).iterdir())
    return sorted(name.removesuffix(".yaml") for name in found if name.endswith(".yaml"))


def load_label_map(name: str | Path) -> LabelMap:
    """Return a label map.

    Args:
        name: such as ``nuscenes``, or the path of a YAML file.

    Raises:
        UserError: no such map.
        DataError: the file is none.
    """
    if str(name) in label_map_names():
        with resources.as_file(resources.files(__package__) / f"{name}.yaml") as path:
            return _parsed(str(name), path)
    if not Path(name).is_file():
        raise UserError(
            f"no label map {str(name)!r}; valid: {', '.join(label_map_names())}, or the path of a YAML file"
        )
    return _parsed(Path(name).stem, Path(name))


def _parsed(name: str, path: Path) -> LabelMap:
    document = read_yaml(path, _WANTED)
    classes, pairs = document.get("classes"), document.get("map")
    if not isinstance(classes, list) or not 2 <= len(classes) <= _MOST_CLASSES:
        raise DataError("no list of 2 to 256 classes", file=path, key="classes", wanted=_WANTED)
    if not isinstance(pairs, dict) or not pairs:
        raise DataError("no mapping", file=path, key="map", wanted=_WANTED)
    table = np.full(_LARGEST_ID + 1, -1, np.int16)
    for number, label in pairs.items():
        if not _within(number, _LARGEST_ID) or not _within(label, len(classes) - 1):
            raise DataError(f"{number}: {label}"[:80], file=path, key="map", wanted=_WANTED)
        table[number] = label
    table.setflags(write=False)
    return LabelMap(name, tuple(map(str, classes)), table)


def _within(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most
