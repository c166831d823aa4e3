"""The place of a loader in the data: a run that is stopped anywhere, twice and more, reads what one without does."""

from __future__ import annotations

import json
import os
from itertools import product
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("megatron.energon")

from tests.energon_tasks.mixes import KINDS, REPEATED, write  # noqa: E402
from tests.shards.energon_folders import metadataset  # noqa: E402
from tests.workers.client import ROOT, python  # noqa: E402

BLEND = "  train:\n    blend: [{path: a, weight: 3}, {path: b, weight: 1}]\n"


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of each sample type a folder ``a`` of 9 samples, one ``b`` of 5, and a blend of both."""
    root = tmp_path_factory.mktemp("stops")
    for kind in KINDS:
        (root / kind).mkdir()
        write(kind, root / kind / "a", "a", 9)
        write(kind, root / kind / "b", "b", 5)
        metadataset(root / kind / "blend.yaml", BLEND)
    return root


def worker_result(program: str, *words: object) -> Any:
    done = python(ROOT / "tests" / "workers" / program, *words)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert lines, done.stderr
    return json.loads(lines[-1].removeprefix("RESULT "))


def check_stops(folders: Path, kind: str, blend: str, workers: int, plans: list[list[int]]) -> None:
    result = worker_result("stops_worker.py", folders, kind, blend, workers, json.dumps(plans))
    assert len({json.dumps(batch) for batch in result["whole"]}) > 4
    assert not result["differ"]


@pytest.mark.parametrize(
    "workers", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
def test_stops_soon_after_a_resume(folders: Path, workers: int) -> None:
    """A reader that has given nothing since the resume must not start again, however far it was before."""
    pairs = product((1, workers + 1, 2 * workers + 1), sorted({0, 1, workers - 1, workers}))
    check_stops(folders, "latents", "a", workers, [list(pair) for pair in pairs])


@pytest.mark.parametrize(
    ("kind", "blend"),
    [
        ("latents", "blend.yaml"),
        ("sweeps", "blend.yaml"),
        ("videos", "a"),
        ("views", "blend.yaml"),
        ("multiview", "blend.yaml"),
        pytest.param("points", "blend.yaml", marks=pytest.mark.slow),
    ],
)
def test_many_stops_of_every_loader(folders: Path, kind: str, blend: str) -> None:
    check_stops(folders, kind, blend, 2, [[3, 1, 0, 1, 3, 1]])


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("blend", ["a", "blend.yaml"])
@pytest.mark.parametrize("kind", REPEATED)
def test_pairs_of_stops_of_every_loader(folders: Path, kind: str, blend: str, workers: int) -> None:
    """Every pair for latents; every fourth for the others, whose loaders share the code, unless all are asked for."""
    pairs = [list(pair) for pair in product(range(3 * workers + 3), range(workers + 1))]
    step = 1 if kind == "latents" or workers == 1 or os.environ.get("COSMOS_LIDAR_ALL_STOPS") else 4
    check_stops(folders, kind, blend, workers, pairs[::step])


# ------------------------------------------------------------------------------------------- other numbers of ranks


def steps_of(folders: Path, *plan: tuple[int, int, int, int]) -> list[list[tuple]]:
    """Return the samples of each step of all ranks, sorted; ``plan``: (ranks, workers, batch size, steps), …"""
    result = worker_result("ranks_worker.py", folders, "latents", json.dumps(plan))
    assert not result["error"]
    return [sorted(tuple(sample) for batch in step for sample in batch) for step in result["steps"]]


def test_a_global_batch_is_the_same_on_1_2_and_4_ranks(folders: Path) -> None:
    whole = steps_of(folders, (1, 4, 8, 6))
    assert all(len(step) == 8 for step in whole)
    assert len({sample for step in whole for sample in step}) == 48  # noise seeds are those of places in the stream
    assert steps_of(folders, (2, 2, 4, 6)) == whole
    assert steps_of(folders, (4, 1, 2, 6)) == whole
    assert steps_of(folders, (1, 4, 4, 12))[0] != whole[0]


def test_other_ranks_resume_with_the_next_sample(folders: Path) -> None:
    whole = steps_of(folders, (1, 4, 8, 9))
    assert steps_of(folders, (1, 4, 8, 2), (2, 2, 4, 1), (4, 1, 2, 3), (2, 2, 4, 1), (1, 4, 8, 2)) == whole
    halves = steps_of(folders, (1, 4, 8, 2), (2, 2, 2, 4))[2:]
    assert [sorted(halves[0] + halves[1]), sorted(halves[2] + halves[3])] == whole[2:4]


@pytest.mark.parametrize(
    "plan", [[(1, 4, 8, 1), (2, 4, 4, 1)], [(2, 1, 2, 1), (2, 0, 2, 1)], [(2, 0, 1, 1), (1, 2, 2, 1)]]
)
def test_other_readers_are_refused(folders: Path, plan: list[tuple[int, ...]]) -> None:
    result = worker_result("ranks_worker.py", folders, "latents", json.dumps(plan))
    assert "the data resumes with the next sample where ranks x workers are the same" in result["error"]
    assert "trainer.restart_data=true" in result["error"]
