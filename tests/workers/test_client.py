"""Programs that are forked behave like those that a shell starts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("nemo")
pytest.importorskip("megatron.energon")

from tests.waiting import is_alive, wait_until
from tests.workers.client import python, torchrun

SHOW = "import json, os, sys; print(json.dumps([sys.argv, os.getcwd(), os.environ.get('COLOR'), __name__]))"


def test_arguments_folder_environment_and_output(tmp_path: Path) -> None:
    (tmp_path / "show.py").write_text(SHOW + "; import beside; print(beside.X, file=sys.stderr)")
    (tmp_path / "beside.py").write_text("X = 5")
    script = str(tmp_path / "show.py")
    done = python(script, "two words", 3, env={"COLOR": "red"}, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "5\n")
    assert json.loads(done.stdout) == [[script, "two words", "3"], str(tmp_path), "red", "__main__"]
    done = python("-c", SHOW, "x")
    assert json.loads(done.stdout)[:2] == [["-c", "x"], str(Path.cwd())]
    done = python("-m", "beside", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit('no such thing')", 1, "no such thing\n"),
        ("import sys; sys.exit()", 0, ""),
        ("raise ValueError('x')", 1, "ValueError: x"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -15, ""),
        ("import atexit, sys; atexit.register(lambda: sys.stderr.write('bye'))", 0, "bye"),
    ],
)
def test_ends(code: str, status: int, said: str) -> None:
    done = python("-c", code)
    assert done.returncode == status
    assert said in done.stderr


def test_ranks_meet_and_their_outputs_are_in_order() -> None:
    code = (
        "import torch, torch.distributed as dist; dist.init_process_group('gloo'); x = torch.ones(1) * dist.get_rank();"
        "dist.all_reduce(x); print(dist.get_rank(), dist.get_world_size(), x.item()); dist.destroy_process_group()"
    )
    done = torchrun(3, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["0 3 3.0", "1 3 3.0", "2 3 3.0"]


def test_one_rank_that_fails_ends_the_others() -> None:
    code = "import os, sys, time; sys.exit(7) if os.environ['RANK'] == '1' else time.sleep(1000)"
    assert torchrun(2, "-c", code).returncode == 1


def test_what_hangs_is_killed_and_what_it_said_is_kept(tmp_path: Path) -> None:
    code = f"import os, time; print('begun', flush=True); open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))"
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        python("-c", code + "; time.sleep(1000)", timeout_s=3.0)
    if (tmp_path / "pid").exists():  # a very slow machine does not come so far
        assert caught.value.stdout == "begun\n"
        pid = int((tmp_path / "pid").read_text())
        wait_until(lambda: not is_alive(pid), "the end of the program")


def test_programs_may_start_processes_that_import_them(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import multiprocessing, dataclasses\n"
        "@dataclasses.dataclass\n"
        "class Point:\n    x: int\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.map(Point, [4, 5]))\n"
    )
    done = python(tmp_path / "program.py")
    assert (done.returncode, done.stdout) == (0, "[Point(x=4), Point(x=5)]\n"), done.stderr
