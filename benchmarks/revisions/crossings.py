"""Compatibility between two revisions: run folders, checkpoints, shards of one, resumed or read by the other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from revisions.observed import Seen, configuration, exports, metrics
from revisions.probes import ON_DATA, STEPS, TOKENIZERS, data_run, log_options, probes, run_folder
from revisions.tree import Tree


@dataclass(frozen=True)
class Crossing:
    """Something that the first revision writes and the second one resumes or reads.

    Attributes:
        name: shown in the table.
        look: returns what is wanted and what came of it.
    """

    name: str
    look: Callable[[Tree, Tree], tuple[Seen, Seen]]


def crossings(families: list[str]) -> list[Crossing]:
    """Return all of them."""
    each = {"resumed at step 5": resume, "step 7 replayed": replay, "exported": export, "config.yaml": configure}
    made = [Crossing(f"{family} {name}", partial(look, family)) for family in families for name, look in each.items()]
    names = [probe.name for probe in probes(families) if probe.name in ON_DATA and probe.name != "lidargen on views"]
    return [*made, *(Crossing(name, partial(read_shards, name)) for name in names)]


def resume(family: str, a: Tree, b: Tree) -> tuple[Seen, Seen]:
    """Train five steps at A, resume to ten at B; wanted are the steps and weights of ten steps at B."""
    options = ("recipe=debug", *STEPS, *log_options(family, "begun"))
    a.recipe(family, *options, "trainer.max_steps=5")
    folder = _copy(run_folder(family, "begun"), a, b)
    b.recipe(family, *options)
    whole = b.scratch / run_folder(family)
    wanted, got = metrics(whole / "metrics.csv"), metrics(b.scratch / folder / "metrics.csv")
    for seen, source in ((wanted, whole), (got, b.scratch / folder)):
        found = exports(source / "checkpoints", TOKENIZERS.get(family))
        seen |= {key: value for key, value in found.items() if "000000010" in key}
    return wanted, got


def replay(family: str, a: Tree, b: Tree) -> tuple[Seen, Seen]:
    """Run step 7 of A's run again at B, which compares it with what A logged and ends with 1 if it is not the same."""
    folder = _copy(run_folder(family), a, b, "replayed")
    b.command("replay", folder, "--step", 7)
    return {"as logged": "yes"}, {"as logged": "yes"}


def export(family: str, a: Tree, b: Tree) -> tuple[Seen, Seen]:
    """Export A's checkpoint at B; wanted is A's own export."""
    folder = _copy(run_folder(family), a, b, "copied")
    b.command("export", f"{folder}/checkpoints/iter_000000010", "--out", f"exported_copies/{family}")
    shape = TOKENIZERS.get(family)
    return exports(a.scratch / "exported" / family, shape), exports(b.scratch / "exported_copies" / family, shape)


def configure(family: str, a: Tree, b: Tree) -> tuple[Seen, Seen]:
    """Start from A's ``config.yaml`` at B."""
    path = a.scratch / run_folder(family) / "config.yaml"
    text = b.recipe(family, "--config", path, "--dryrun")
    return configuration(path.read_text(encoding="utf-8")), configuration(text)


def read_shards(name: str, a: Tree, b: Tree) -> tuple[Seen, Seen]:
    """Train at B on A's shards; wanted is what A's training on them logged."""
    folder = name.split(" on ")[1]
    _copy(folder, a, b, "shards_of_a")
    got = data_run(name, "shards_of_a", "runs_on_a", b)
    return metrics(a.scratch / run_folder(name) / "metrics.csv"), got


def _copy(folder: str, a: Tree, b: Tree, below: str = "") -> str:
    """Copy a folder of A's to B, there below another one, and return where it is."""
    target = f"{below}/{folder}" if below else folder
    shutil.copytree(a.scratch / folder, b.scratch / target)
    return target
