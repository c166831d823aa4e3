"""Programs of tests/workers on several gloo ranks, of which the first prints its results as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from tests.workers.client import torchrun

FOLDER = Path(__file__).parents[1] / "workers"


def results_of_ranks(ranks: int, script: str, *arguments: str) -> dict[str, dict[str, float]]:
    """Return the last line of output of ``torchrun SCRIPT …``."""
    done = torchrun(ranks, FOLDER / script, *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])
