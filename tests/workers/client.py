"""Start Python programs from a process that has torch, NeMo and Energon imported already, alone or as ranks.

:func:`python` and :func:`torchrun` stand for ``python PROGRAM …`` and ``torchrun --standalone PROGRAM …``. A start by
them costs no imports (6 s of CPU); what a fresh interpreter does at its start is not tested by them.
"""

from __future__ import annotations

import fcntl
import hashlib
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
_STARTED: list[subprocess.Popen[bytes]] = []


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
def _folder() -> Path:
    """Return the folder of the servers' sockets, with this process as a user; those of ``pytest -n`` share it."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    # Short: the path of a socket is limited.
    folder = Path("/tmp", f"forks-{run}") if run else Path(tempfile.mkdtemp(prefix="forks-", dir="/tmp"))
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "users").mkdir(exist_ok=True)
    (folder / "users" / str(os.getpid())).touch()
    return folder


@lru_cache
def _server(modules: tuple[str, ...]) -> str:
    """Return the socket of the server with these modules, which is started when none of this test run has done so."""
    path = _folder() / ("-".join(("socket", hashlib.sha256(str(modules).encode()).hexdigest()[:8])))
    plain = _server(()) if modules else ""
    with (path.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return str(path)
        if modules:
            _fork_server(plain, path, modules)
        else:
            _start_server(path)
    return str(path)


def _start_server(path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("fork_server.py")), str(path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)

    def listening() -> bool:
        if server.poll() is not None:
            raise RuntimeError(f"the fork server ended with status {server.returncode}")
        return path.exists()

    wait_until(listening, "the fork server")
    _STARTED.append(server)


def _fork_server(plain: str, path: Path, modules: tuple[str, ...]) -> None:
    """Let the server without further modules fork one that imports them."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(plain)
        stream = connection.makefile("rw")
        stream.write(json.dumps({"socket": str(path), "modules": modules}) + "\n")
        stream.flush()
        if not stream.readline():
            raise RuntimeError(f"the fork server of {modules} has ended")
