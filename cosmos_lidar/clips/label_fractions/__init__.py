"""Which sweeps have labels where a fraction of a dataset is trained on: the published choices of label efficiency.

Skip ratio s keeps about one sweep in s. Of nuScenes that is every s-th scene of a split, of SemanticKITTI published
lists of frames (``semantickitti_S.txt``: sequence, frames), of any other dataset every s-th sweep of each clip.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import NamedTuple

from cosmos_lidar.errors import UserError

_LONE_SCENE = "scene-0392"  # of nuScenes, has all classes; taken where a ratio leaves no scene


class SweepName(NamedTuple):
    """Which sweep of which clip.

    Attributes:
        clip_id: of the clip.
        frame_id: the dataset's name of the sweep.
        number: place of the sweep in the clip.
    """

    clip_id: str
    frame_id: str
    number: int


def labeled_sweeps(dataset: str, sweeps: Sequence[SweepName], ratio: int) -> list[bool]:
    """Return which sweeps of a split keep their labels.

    Args:
        dataset: name of the reader.
        sweeps: of the split, clip by clip, in the order of the dataset.
        ratio: s, at least 1.

    Raises:
        UserError: a ratio below 1, one for which SemanticKITTI has no list, or none of the sweeps is in it.
    """
    if ratio < 1:
        raise UserError(f"skip ratio {ratio}: expected at least 1")
    if ratio == 1:
        return [True] * len(sweeps)
    if dataset == "nuscenes":
        scenes = _every_scene(list(dict.fromkeys(sweep.clip_id for sweep in sweeps)), ratio)
        kept = [sweep.clip_id in scenes for sweep in sweeps]
    elif dataset == "semantickitti":
        frames = published_frames(dataset, ratio)
        kept = [_number_of(sweep) in frames.get(sweep.clip_id, ()) for sweep in sweeps]
    else:
        kept = [sweep.number % ratio == 0 for sweep in sweeps]
    if not any(kept):
        raise UserError(f"skip ratio {ratio}: none of the {len(sweeps)} sweeps of {dataset} is in it")
    return kept


def published_frames(dataset: str, ratio: int) -> dict[str, frozenset[int]]:
    """Return clip id -> numbers of its frames in the published list of a fraction.

    Raises:
        UserError: there is no such list; the message has the ratios that there are.
    """
    valid = published_ratios(dataset)
    if ratio not in valid:
        raise UserError(f"skip ratio {ratio} of {dataset}; valid: {', '.join(map(str, (1, *valid)))}")
    text = (resources.files(__package__) / f"{dataset}_{ratio}.txt").read_text(encoding="utf-8")
    rows = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {clip: frozenset(map(int, frames.split())) for clip, _, frames in rows}


def published_ratios(dataset: str) -> tuple[int, ...]:
    """Return the skip ratios above 1 of which a dataset has lists."""
    names = (re.fullmatch(rf"{dataset}_(\d+)\.txt", entry.name) for entry in resources.files(__package__).iterdir())
    return tuple(sorted(int(match[1]) for match in names if match))


def _every_scene(scenes: Sequence[str], ratio: int) -> Iterable[str]:
    return frozenset(scenes[ratio - 1 :: ratio]) or frozenset([_LONE_SCENE])


def _number_of(sweep: SweepName) -> int:
    return int(sweep.frame_id) if sweep.frame_id.isdecimal() else sweep.number
