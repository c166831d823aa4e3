import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launch.one_node_slurm import OneNodeSlurm, why_not


@pytest.fixture(scope="session")
def slurm() -> Iterator[OneNodeSlurm]:
    """A running SLURM of this machine alone; tests are skipped, with the reason, where there can be none."""
    if reason := why_not():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # short: it holds a socket, whose path is limited
    cluster = OneNodeSlurm(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
