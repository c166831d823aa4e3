"""Color palette of semantic classes: one color per class id, the same in every recording and every figure."""

from __future__ import annotations

import numpy as np

from cosmos_lidar.clips.open import find_readers

UNLABELED = (112, 118, 128)
_GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, are as far from each other as multiples can be
_LEVELS = ((0.6, 1.0), (0.7, 0.75), (0.35, 1.0), (0.75, 1.0))  # saturation, value: light enough for a dark ground


def class_colors(class_ids: np.ndarray) -> np.ndarray:
    """Return (N, 3) uint8 RGB of class ids (N,); class 0 is gray.

    The hue of class k is the fraction of k times the golden ratio, so ids that follow each other get distant hues;
    saturation and value repeat every four ids.
    """
    ids = np.asarray(class_ids, np.int64).reshape(-1)
    saturation, value = np.array(_LEVELS)[ids % len(_LEVELS)].T
    sector = np.modf(ids * _GOLDEN)[0] * 6.0
    offset = (np.array([[5.0], [3.0], [1.0]]) + sector) % 6.0
    share = np.clip(np.minimum(offset, 4.0 - offset), 0.0, 1.0)
    colors = np.round(255.0 * value * (1.0 - saturation * share)).T.astype(np.uint8)
    colors[ids == 0] = UNLABELED
    return colors


def class_names(format: str) -> dict[int, str]:
    """Return names of the semantic classes of recordings by their ids, from ``CLASS_NAMES`` of the reader.

    Args:
        format: ``Clip.format``; of a reader without names, or of none (such as ``shards``), the result is empty.
    """
    if format == "synth":
        from cosmos_lidar.synth import CLASS_NAMES

        return CLASS_NAMES
    return dict(getattr(find_readers().get(format), "CLASS_NAMES", {}))
