from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.parallel import made_once as module
from cosmos_lidar.parallel.made_once import made_once
from tests.workers.client import torchrun

PROGRAM = """
import os, sys
from pathlib import Path
from cosmos_lidar.parallel.made_once import made_once
folder, rank = Path(sys.argv[1]), os.environ["RANK"]
def make():
    folder.mkdir()
    (folder / "by").write_text(rank)
    (folder / "done").touch()
assert made_once(folder, folder / "done", make) == folder
print((folder / "by").read_text())
"""


def test_the_first_rank_makes_it_and_the_others_wait(tmp_path: Path) -> None:
    done = torchrun(3, "-c", PROGRAM, tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "0", "0"]


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    (tmp_path / "done").touch()
    assert made_once(tmp_path, tmp_path / "done", lambda: pytest.fail("made again")) == tmp_path


def test_waiting_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(module, "_WAIT_S", 0.0)
    with pytest.raises(UserError, match="done was not written within 0 s"):
        made_once(tmp_path, tmp_path / "done", lambda: pytest.fail("rank 1 makes nothing"))
