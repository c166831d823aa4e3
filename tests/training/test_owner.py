"""One owner per run folder: the living are respected, the dead are followed, and of several at once one comes first."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.training.owner import FOLDER, Owner, RunOwner, last_owner, this_process

FAST = {"beat_s": 0.05, "stale_s": 1.0}
ELSEWHERE = replace(this_process(), host="gpu12", process=4711, machine="another boot", token="other")


@contextmanager
def owned(folder: Path, owner: Owner | None = None) -> Iterator[RunOwner]:
    hold = RunOwner(folder, owner or this_process(), **FAST)
    hold.acquire()
    try:
        yield hold
    finally:
        hold.release()


def leave_record(folder: Path, owner: Owner, age_s: float = 0.0) -> Path:
    """Write what an owner that was killed leaves behind."""
    path = folder / FOLDER / "000003.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(asdict(owner)))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_a_second_run_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with owned(run, replace(this_process(ranks=4), host="gpu12")), pytest.raises(UserError) as error:
        RunOwner(run, this_process(), **FAST).acquire()
    assert f"{run} is in use by process {os.getpid()} on host gpu12 (4 ranks, since 20" in str(error.value)
    assert not run.exists()  # nothing but the record was in it


def test_a_living_owner_on_another_machine_is_known_by_its_heartbeat(tmp_path: Path) -> None:
    with owned(tmp_path, ELSEWHERE), pytest.raises(UserError, match="process 4711 on host gpu12"):
        RunOwner(tmp_path, this_process(), beat_s=0.05, stale_s=60.0).acquire()


def test_a_killed_owner_of_this_machine_stops_nobody(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from cosmos_lidar.training.owner import *\n"
        "RunOwner(Path(sys.argv[1]), this_process()).acquire(); print('owned', flush=True); time.sleep(600)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "owned\n"
    with pytest.raises(UserError, match=f"process {child.pid} on host"):
        RunOwner(tmp_path, this_process()).acquire()
    child.send_signal(signal.SIGKILL)
    # not waited for: a zombie is dead, too
    while Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    hold = RunOwner(tmp_path, this_process(), beat_s=5.0, stale_s=3600.0)
    hold.acquire()
    assert hold.former is not None
    assert hold.former.process == child.pid
    hold.release()
    child.wait()


def test_a_process_id_that_is_used_again_is_no_owner(tmp_path: Path) -> None:
    leave_record(tmp_path, replace(this_process(), process_start="1", token="before"))
    with owned(tmp_path) as hold:
        assert hold.former.token == "before"


@pytest.mark.parametrize("age_s", [0.0, 1e6])
def test_a_host_that_is_gone_stops_nobody(age_s: float, tmp_path: Path) -> None:
    leave_record(tmp_path, ELSEWHERE, age_s)
    with owned(tmp_path) as hold:
        assert hold.former == ELSEWHERE
        assert [path.name for path in hold.folder.iterdir()] == ["000004.json"]


def test_a_record_that_was_cut_short_stops_nobody(tmp_path: Path) -> None:
    leave_record(tmp_path, ELSEWHERE).write_text('{"host": "gp')
    with owned(tmp_path) as hold:
        assert hold.former is None


def test_a_requeued_job_follows_itself_at_once(tmp_path: Path) -> None:
    slurm = {"SLURM_JOB_ID": "17", "SLURM_CLUSTER_NAME": "big", "SLURM_RESTART_COUNT": "1"}
    first, second = (this_process(environment=slurm | {"SLURM_RESTART_COUNT": count}) for count in ("1", "2"))
    assert (first.job, first.attempt) == ("SLURM job 17 of big", 1)
    leave_record(tmp_path, replace(ELSEWHERE, job=first.job, attempt=1, begun=True))
    hold = RunOwner(tmp_path, second, beat_s=5.0, stale_s=3600.0)
    hold.acquire()  # no watching: this would take an hour
    assert hold.restarted
    # killed before it began: what is there is still that of the attempt before
    third = RunOwner(tmp_path, replace(second, attempt=3, token="third"), beat_s=5.0, stale_s=3600.0)
    third.acquire()
    assert third.restarted
    with pytest.raises(UserError, match="taken over by process"):
        hold.check()
    # another job, or another step of the same attempt, is another run
    with pytest.raises(UserError, match="SLURM job 17 of big"):
        RunOwner(tmp_path, replace(second, attempt=3, token="fourth"), **FAST).acquire()
    third.release()
    elastic = {"TORCHELASTIC_RUN_ID": "abc", "TORCHELASTIC_RESTART_COUNT": "2"}
    assert (this_process(environment=elastic).job, this_process(environment=elastic).attempt) == ("torchrun abc", 2)
    assert this_process(environment=elastic | {"TORCHELASTIC_RUN_ID": "none"}).job == ""


def test_of_many_that_follow_a_dead_owner_one_comes_first(tmp_path: Path) -> None:
    leave_record(tmp_path, replace(this_process(), process_start="1"))
    barrier, got, refused = threading.Barrier(8), [], []

    def compete() -> None:
        hold = RunOwner(tmp_path, this_process(), **FAST)
        barrier.wait()
        try:
            hold.acquire()
            got.append(hold)
        except UserError:
            refused.append(hold)

    threads = [threading.Thread(target=compete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 7)
    got[0].release()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"run folder .*file/run: cannot be written to \(Not a directory\)"):
        RunOwner(tmp_path / "file" / "run", this_process()).acquire()


def test_numbers_only_grow_so_that_a_late_follower_cannot_take_the_place_of_a_new_owner(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    for number in (1, 2, 3):
        with owned(tmp_path) as hold:
            assert [path.name for path in hold.folder.iterdir()] == [f"{number:06d}.json"]
    assert (tmp_path / FOLDER / "000003.json").is_file()


def test_an_owner_that_was_stopped_for_too_long_finds_out(tmp_path: Path) -> None:
    with owned(tmp_path) as stopped:
        stopped.check()
        (stopped.folder / "000002.json").write_text(json.dumps(asdict(ELSEWHERE)))
        with pytest.raises(UserError, match=r"taken over by process 4711 on host gpu12 .*no sign of life"):
            stopped.check()
        assert stopped.taken_over.startswith("process 4711")
    assert json.loads((tmp_path / FOLDER / "000002.json").read_text())["ended"] is False  # not ours to end


def test_an_owner_is_read_without_taking_part(tmp_path: Path) -> None:
    assert last_owner(tmp_path) == (None, False)
    with owned(tmp_path, this_process(device="Big CPU")):
        owner, alive = last_owner(tmp_path)
        assert (owner.device, alive) == ("Big CPU", True)
        (tmp_path / "metrics.csv").touch()  # else the folder is removed
    owner, alive = last_owner(tmp_path)
    assert (owner.ended, alive) == (True, False)


@pytest.mark.parametrize(("age_s", "alive"), [(10.0, True), (61.0, False)])
def test_an_owner_elsewhere_is_alive_as_long_as_its_heartbeat_is_new(tmp_path: Path, age_s: float, alive: bool) -> None:
    record = leave_record(tmp_path, ELSEWHERE)
    then = time.time() - age_s
    os.utime(record, (then, then))
    assert last_owner(tmp_path) == (ELSEWHERE, alive)


@pytest.mark.parametrize("content", ["", "[1]", '{"token": 1, "host": "h", "process": "../1"}', "[" * 60_000])
def test_a_record_of_something_else_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "000001.json").write_text(content)
    (tmp_path / FOLDER / "\u00b2.json").write_text("{}")  # a digit, and no number
    assert last_owner(tmp_path) == (None, False)
