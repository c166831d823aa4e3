"""One source tree of the project and a folder for what its programs write."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

_SECONDS = 400  # a command that takes longer has failed
_DROPPED = ("WANDB_", "OUTPUT_ROOT", "MLFLOW_", "RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "COSMOS_LIDAR_TEST")

# x264 reads memory that nothing has written (mbtree): videos are repeatable where malloc fills what it gives (glibc).
FIXED = {"OMP_NUM_THREADS": "1", "MALLOC_PERTURB_": "85", "COLUMNS": "150", "NO_COLOR": "1"}


class FailedError(Exception):
    """A command failed; names it and its last output."""


class Tree:
    """Runs command lines with the project of one source tree, in a scratch folder.

    Args:
        source: root of the source tree.
        scratch: the current folder of the commands; made when absent.
    """

    def __init__(self, source: Path, scratch: Path) -> None:
        self.source, self.scratch = source, scratch
        scratch.mkdir(parents=True, exist_ok=True)
        self._logs = scratch.with_name(f"{scratch.name}_logs_{os.urandom(3).hex()}")
        self._logs.mkdir()
        self._count = 0
        kept = {key: value for key, value in os.environ.items() if not key.startswith(_DROPPED)}
        environment = kept | FIXED | {"PYTHONPATH": str(source)}
        program = [sys.executable, str(Path(__file__).with_name("warm_python.py"))]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with (self._logs / "python.txt").open("w") as messages:
            self._python = subprocess.Popen(program, env=environment, cwd=scratch, stderr=messages, **pipes)

    def __enter__(self) -> Tree:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the interpreter."""
        self._python.stdin.close()
        self._python.wait(timeout=60)

    def again(self) -> Tree:
        """Return another interpreter on the same tree and scratch folder, to run beside this one."""
        return Tree(self.source, self.scratch)

    def run(self, *words: Any, status: int = 0) -> str:
        """Run ``python WORDS``; returns what it printed.

        Raises:
            FailedError: another exit status than ``status``.
        """
        argv = [str(word) for word in words]
        self._count += 1
        log = self._logs / f"{self._count:03d}.txt"
        heavy = not {"--help", "--dryrun"} & set(argv)
        job = {"argv": argv, "cwd": str(self.scratch), "log": str(log), "timeout": _SECONDS, "libraries": heavy}
        self._python.stdin.write(json.dumps(job) + "\n")
        self._python.stdin.flush()
        answer = self._python.stdout.readline().strip()
        printed = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        if answer != str(status):
            last = " / ".join(printed.strip().splitlines()[-4:])
            raise FailedError(f"{' '.join(argv)}: exit status {answer or 'none'}: {last}")
        return printed

    def command(self, *words: Any) -> str:
        """Run ``cosmos-lidar WORDS``; returns what it printed."""
        return self.run("-m", "cosmos_lidar", *words)

    def recipe(self, family: str, *options: Any) -> str:
        """Run ``python recipes/FAMILY.py OPTIONS``; returns what it printed."""
        return self.run(self.source / "recipes" / f"{family}.py", *options)

    def families(self) -> list[str]:
        """Return the recipe files that can be run."""
        scripts = sorted((self.source / "recipes").glob("*.py"))
        return [path.stem for path in scripts if "__main__" in path.read_text(encoding="utf-8")]

    def variants(self, family: str) -> list[str]:
        """Return the names that ``recipe=`` takes, from the recipe's help text.

        Raises:
            FailedError: they do not stand in it.
        """
        text = self.recipe(family, "--help")
        found = re.search(r"recipe=NAME\s+([\w |\n]+?) \(default", text)
        if found is None:
            raise FailedError(f"recipes/{family}.py --help: no list of variants behind recipe=NAME")
        return [name.strip() for name in found[1].split("|")]
