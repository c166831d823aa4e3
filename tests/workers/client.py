"""Start Python programs from a process that has torch, NeMo and Energon imported already, alone or as ranks.

:func:`python` and :func:`torchrun` stand for ``python PROGRAM …`` and ``torchrun --standalone PROGRAM …``. A start by
them costs no imports (6 s of CPU); what a fresh interpreter does at its start is not tested by them.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from tests import cpu_times
from tests.waiting import PATIENCE_S, wait_until

ROOT = Path(__file__).resolve().parents[2]
_STARTING = threading.Lock()  # tests may start programs from threads


def python(
    *program: object,
    env: Mapping[str, str | None] | None = None,
    cwd: Path | None = None,
    timeout_s: float = PATIENCE_S,
    modules: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:
    """Run ``python PROGRAM …``.

    Args:
        program: ``FILE …``, ``-m MODULE …`` or ``-c CODE …``.
        env: variables beside those of this process; None takes one away.
        cwd: folder to run in; this process's by default.
        timeout_s: after which it is killed.
        modules: that are imported already, beside those of every program; programs with others have another server.
    """
    return _start(0, program, env, cwd, timeout_s, modules)


def torchrun(
    ranks: int,
    *program: object,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float = PATIENCE_S,
) -> subprocess.CompletedProcess[str]:
    """Run ``torchrun --standalone --nproc_per_node=RANKS PROGRAM …``; outputs are in the order of the ranks."""
    return _start(ranks, program, env, cwd, timeout_s)


def _start(
    ranks: int,
    program: tuple[object, ...],
    env: Mapping[str, str | None] | None,
    cwd: Path | None,
    timeout_s: float,
    modules: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in program]
    folder = Path(tempfile.mkdtemp(prefix="program-"))
    try:
        variables = dict(os.environ) | {"OMP_NUM_THREADS": "1"} | dict(env or {})
        request = {
            "ranks": ranks,
            "program": words,
            "environment": {name: value for name, value in variables.items() if value is not None},
            "folder": str(cwd or Path.cwd()),
            "out": str(folder / "out"),
            "err": str(folder / "err"),
        }
        status = _ask(request, timeout_s, words, modules)
        texts = [_text(folder, name, max(ranks, 1)) for name in ("out", "err")]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return subprocess.CompletedProcess(words, status, *texts)


def _ask(request: dict, timeout_s: float, words: list[str], modules: tuple[str, ...]) -> int:
    with socket.socket(socket.AF_UNIX) as connection:
        with _STARTING:
            server = _server(modules)
        connection.connect(server)
        connection.settimeout(timeout_s)
        stream = connection.makefile("rw")
        stream.write(json.dumps(request) + "\n")
        stream.flush()
        group = json.loads(stream.readline())["group"]
        try:
            answer = json.loads(stream.readline())
        except TimeoutError:
            os.killpg(group, signal.SIGKILL)
            found = {name: _text(Path(request[name]).parent, name, max(request["ranks"], 1)) for name in ("out", "err")}
            raise subprocess.TimeoutExpired(words, timeout_s, found["out"], found["err"]) from None
    cpu_times.add_elsewhere(answer["cpu_s"])
    return answer["status"]


def _text(folder: Path, name: str, count: int) -> str:
    files = (folder / f"{name}.{rank}" for rank in range(count))
    return "".join(file.read_text(errors="replace") for file in files if file.exists())


@lru_cache
def _server(modules: tuple[str, ...]) -> str:
    """Start the server of this test process, once for each set of modules, and return its socket."""
    folder = tempfile.mkdtemp(prefix="forks-", dir="/tmp")  # short: the path of a socket is limited
    path = f"{folder}/socket"
    command = [sys.executable, str(Path(__file__).with_name("fork_server.py")), path, *modules]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.kill)

    def listening() -> bool:
        if server.poll() is not None:
            raise RuntimeError(f"the fork server ended with status {server.returncode}")
        return Path(path).exists()

    wait_until(listening, "the fork server")
    return path
