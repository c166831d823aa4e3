"""Programs of ``launch`` that use NeMo-Run, in processes that have it imported already: 8 s of CPU each otherwise."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.workers.client import python

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("nemo_run", "nemo_run.cli.api", "nemo_run.run.experiment", "torchx.runner", "torchx.specs")
# As `python -m MODULE …`; NeMo-Run takes its folder from the environment when it is imported.
PROGRAM = """
import os, runpy, sys
from nemo_run.config import set_nemorun_home
set_nemorun_home(os.environ["NEMORUN_HOME"])
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def run_program(home: Path, module: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m MODULE …`` in the checkout, outside of SLURM, with NeMo-Run's folder ``home``."""
    inside = dict.fromkeys(name for name in os.environ if name.startswith("SLURM"))
    return python("-c", PROGRAM, module, *arguments, env={**inside, "NEMORUN_HOME": str(home), **env}, cwd=ROOT,
                  modules=MODULES)  # fmt: skip
