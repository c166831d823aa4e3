"""A process with torch, NeMo and Energon imported that forks Python programs: each start costs no imports.

``fork_server.py SOCKET`` listens on a Unix socket until none of the processes that are named by files in ``users``
beside the socket lives. A request is a line of JSON (see ``tests.workers.client``); the reply is a line with the
process group of the programs, and a line with how they ended. ``ranks`` 0 is one plain program; else that many start
with the environment of torchrun, whose rules hold: the key-value store lives in a process of its own, and when one
rank fails the others are ended and the exit status is 1. A request with ``socket`` and ``modules`` forks a further
server that imports those modules, too.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import runpy
import shutil
import signal
import socketserver
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

# What a training run imports sooner or later; found as what is new in ``sys.modules`` at the end of one.
PRELOADED = (
    "torch._dynamo", "torch._inductor.config", "torch.distributed.checkpoint", "torch.distributed.fsdp",
    "torch.distributed.tensor.parallel", "torch.utils.tensorboard", "torch.onnx", "megatron.energon",
    "lightning.pytorch",
    "nemo.core", "nemo.utils.exp_manager", "scipy.stats", "pandas", "s3fs", "cosmos_lidar.recipes.registry",
    *(f"cosmos_lidar.families.{family}.job" for family in ("dit", "lidar_tokenizer", "lidargen", "video_tokenizer")),
    *(f"cosmos_lidar.training.{name}" for name in ("engine", "model", "checkpoint.callback", "preflight.doctor")),
)  # fmt: skip
_GRACE_S = 30.0  # between asking the other ranks to end, and ending them


class Handler(socketserver.StreamRequestHandler):
    """Serves one request, in a process of its own."""

    def handle(self) -> None:
        """Start the programs, wait for them, answer."""
        os.setpgid(0, 0)
        _end_with_parent()
        request = json.loads(self.rfile.readline())
        if "socket" in request:
            serve(Path(request["socket"]), request["modules"], lambda: self._answer({"listening": True}))
        self._answer({"group": os.getpgrp()})
        if request["ranks"]:
            keeper, port = _keep_store()
            ranks = [
                _fork(request, _rank_environment(rank, request["ranks"], port)) for rank in range(request["ranks"])
            ]
            status = _wait_for_ranks(ranks)
            os.kill(keeper, signal.SIGKILL)
        else:
            status = _status(os.waitpid(_fork(request, {}), 0)[1])
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._answer({"status": status, "cpu_s": usage.ru_utime + usage.ru_stime})

    def _answer(self, document: dict[str, Any]) -> None:
        self.wfile.write(json.dumps(document).encode() + b"\n")
        self.wfile.flush()


class Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    """Forks for every request."""

    max_children = 64
    _checked_at = 0.0

    def service_actions(self) -> None:
        """Collect children; end, which ends them, when nobody is left who could ask for more."""
        super().service_actions()
        if time.monotonic() > self._checked_at + 1.0:
            self._checked_at = time.monotonic()
            folder = Path(self.server_address).parent
            if not any(Path("/proc", user).exists() for user in os.listdir(folder / "users")):
                shutil.rmtree(folder, ignore_errors=True)
                os._exit(0)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: nothing works on for nobody


def _rank_environment(rank: int, ranks: int, port: int) -> dict[str, str]:
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "ROLE_RANK": rank, "GROUP_RANK": 0, "GROUP_WORLD_SIZE": 1}
    sizes = dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE", "ROLE_WORLD_SIZE"), ranks)
    elastic = {"TORCHELASTIC_RESTART_COUNT": 0, "TORCHELASTIC_MAX_RESTARTS": 0, "TORCHELASTIC_RUN_ID": port}
    names = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_USE_AGENT_STORE": True}
    return {name: str(value) for name, value in (numbers | sizes | elastic | names).items()}


def _keep_store() -> tuple[int, int]:
    """Fork a process that holds the ranks' key-value store; returns its id and the port."""
    reading, writing = os.pipe()
    keeper = os.fork()
    if not keeper:
        _end_with_parent()
        from torch.distributed import TCPStore

        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        os.write(writing, f"{store.port}\n".encode())
        while True:
            signal.pause()
    os.close(writing)
    with os.fdopen(reading) as stream:
        return keeper, int(stream.readline())


def _fork(request: dict[str, Any], environment: dict[str, str]) -> int:
    child = os.fork()
    if not child:
        _become(request, environment)
    return child


def _become(request: dict[str, Any], environment: dict[str, str]) -> NoReturn:
    """Run the program of the request in this process, as a fresh interpreter would; never returns."""
    status = 1
    try:
        _end_with_parent()
        os.environ.clear()
        os.environ.update(request["environment"] | environment)
        os.chdir(request["folder"])
        rank = environment.get("RANK", "0")
        for number, name in ((1, "out"), (2, "err")):
            stream = os.open(f"{request[name]}.{rank}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(stream, number)
        for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(kind, signal.default_int_handler if kind == signal.SIGINT else signal.SIG_DFL)
        _run(request["program"])
        status = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status & 255)


def _run(program: list[str]) -> None:
    """Run ``-c CODE …``, ``-m MODULE …`` or ``FILE …`` as ``__main__``."""
    main = sys.modules["__main__"] = sys.modules["__mp_main__"] = types.ModuleType("__main__")
    if program[0] == "-m":
        sys.argv, sys.path[0] = program[1:], os.getcwd()
        runpy._run_module_as_main(program[1])
    elif program[0] == "-c":
        sys.argv, sys.path[0] = ["-c", *program[2:]], ""
        exec(compile(program[1], "<string>", "exec"), vars(main))
    else:
        file = Path(program[0])
        sys.argv, sys.path[0] = program, str(file.resolve().parent)
        main.__file__ = str(file)
        exec(compile(file.read_bytes(), str(file), "exec"), vars(main))


def _wait_for_ranks(ranks: list[int]) -> int:
    """Return 0 when all have ended well; when one fails, end the others and return 1, as torchrun does."""
    running, failed = set(ranks), False
    while running and not failed:
        child, status = os.waitpid(-1, 0)
        if child in running:
            running.discard(child)
            failed = _status(status) != 0
    for child in running:
        os.kill(child, signal.SIGTERM)
    _end(running, time.monotonic() + _GRACE_S)
    return int(failed)


def _end(running: set[int], deadline: float) -> None:
    while running:
        child, _ = os.waitpid(-1, os.WNOHANG)
        running.discard(child)
        if not child and time.monotonic() > deadline:
            for late in running:
                os.kill(late, signal.SIGKILL)
            deadline = float("inf")
        time.sleep(0.0 if child else 0.05)


def _status(status: int) -> int:
    return os.waitstatus_to_exitcode(status)


def _check_threads() -> None:
    """Threads do not survive a fork, and leave their locks behind; that of jemalloc (pyarrow's) is prepared for it."""
    tasks = {Path(f"/proc/self/task/{task}/comm").read_text().strip() for task in os.listdir("/proc/self/task")}
    assert threading.active_count() == 1, threading.enumerate()
    assert tasks <= {"jemalloc_bg_thd", Path("/proc/self/comm").read_text().strip()}, tasks


def serve(path: Path, modules: Iterable[str], listening: Callable[[], object] = lambda: None) -> NoReturn:
    """Import modules, then serve at a socket; ``listening`` is called when it is there. Never returns."""
    gc.disable()
    for module in modules:
        with contextlib.suppress(ModuleNotFoundError):  # of another version, perhaps: imported later then, where needed
            importlib.import_module(module)
    gc.enable()
    gc.freeze()  # or every program looks through all that is imported: 0.3 s each time
    _check_threads()
    with Server(f"{path}.new", Handler) as server:
        os.rename(f"{path}.new", path)  # there only when it listens
        server.server_address = str(path)
        listening()
        server.serve_forever(poll_interval=0.05)
    raise AssertionError("a server ends in service_actions")


if __name__ == "__main__":
    serve(Path(sys.argv[1]), PRELOADED)
