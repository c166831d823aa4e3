from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from cosmos_lidar.log import configure, logger
for _ in range(2):
    configure(verbose={verbose})
logger.debug("a detail")
logger.info("[not markup] once")
assert len(logger.handlers) == 1 and not logger.propagate
"""


def run(verbose: bool) -> subprocess.CompletedProcess:
    code = PROGRAM.format(verbose=verbose)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_lines_go_to_standard_error_once() -> None:
    done = run(verbose=False)
    assert done.stdout == ""
    assert done.stderr.count("[not markup] once") == 1
    assert "a detail" not in done.stderr
    assert "a detail" in run(verbose=True).stderr
