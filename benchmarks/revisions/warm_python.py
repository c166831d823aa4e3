"""Run many command lines of one source tree, each in a forked child of an interpreter that has the libraries loaded.

Importing torch, Lightning and NeMo costs 6 s of CPU time each; this program pays it once. It imports nothing of the
project: each child finds it on its own, in the tree of ``PYTHONPATH``. Reads one JSON object per line from stdin,
``{"argv": [...], "cwd": DIR, "log": FILE, "timeout": S, "libraries": BOOL}``, and answers each with its exit status on
stdout. The libraries are loaded before the first command that needs them.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path
from typing import NoReturn

LIBRARIES = ("torch", "av", "safetensors.torch", "webdataset", "megatron.energon", "lightning.pytorch",
             "nemo.core.classes.modelPT", "nemo.utils.exp_manager")  # fmt: skip


def load_libraries() -> None:
    """Import what is installed of ``LIBRARIES``; what is missing stays the problem of the command that needs it."""
    warnings.simplefilter("ignore")
    for name in LIBRARIES:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    warnings.resetwarnings()


def run_here(argv: list[str]) -> None:
    """Run ``python ARGV``: ``-m MODULE …``, ``-c CODE …`` or ``FILE …``; does not come back."""
    if argv[0] == "-m":
        sys.argv = argv[1:]
        sys.path.insert(0, str(Path.cwd()))
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
    elif argv[0] == "-c":
        sys.argv = ["-c", *argv[2:]]
        exec(compile(argv[1], "<command line>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = argv
        sys.path.insert(0, str(Path(argv[0]).resolve().parent))
        runpy.run_path(argv[0], run_name="__main__")


def child(job: dict[str, object]) -> int:
    """Run a job in this process, which is to end with the status returned."""
    os.setsid()  # what it starts can be ended with it
    os.chdir(str(job["cwd"]))
    log = os.open(str(job["log"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    try:
        run_here([str(word) for word in job["argv"]])
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def leave(status: int) -> NoReturn:
    """End this process as Python does, but without taking apart the libraries, which takes 2 s."""
    with contextlib.suppress(BaseException):
        threading._shutdown()  # waits for threads, as at the end of a program
        atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def wait(process: int, seconds: float) -> int:
    """Return the exit status of a child; it is ended, with all that it started, after so many seconds (124)."""
    end = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return 124
        time.sleep(0.02)


def main() -> None:
    """Answer one line of stdin after the other."""
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
    loaded = False
    for line in sys.stdin:
        job = json.loads(line)
        if job["libraries"] and not loaded:
            load_libraries()
            gc.collect()
            gc.freeze()  # pages that the children share would be copied where the collector writes into them
            loaded = True
        process = os.fork()
        if process == 0:
            leave(child(job))
        sys.stdout.write(f"{wait(process, float(job['timeout']))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
