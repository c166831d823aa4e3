"""Checkpoints are whole or not there, load on any mesh, and tell of the smallest damage."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from cosmos_lidar.training.checkpoint import store as checkpoint_store
from cosmos_lidar.training.checkpoint.line import POINTER
from cosmos_lidar.training.checkpoint.manifest import checkpoint_path, checkpoint_step, newest_good, put_back, verify
from cosmos_lidar.training.checkpoint.reading import load_full, load_state, load_tensors
from cosmos_lidar.training.checkpoint.store import CheckpointStore
from tests.training.checkpoint.saving import assert_content, save, some_tensors
from tests.workers.client import python, torchrun

WORKER = Path(__file__).parents[2] / "workers" / "store_worker.py"


def start_ranks(processes: int, *arguments: str) -> None:
    done = torchrun(processes, WORKER, *arguments) if processes > 1 else python(WORKER, *arguments)
    assert done.returncode == 0, done.stderr[-3000:]


def test_everything_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path = save(CheckpointStore(tmp_path), 7, **{"val/loss": 0.5})
    assert_content(path)
    assert load_state(path) == {"step": 7, "list": [1, "two"]}
    assert (path / "config.yaml").read_text() == "step: 7\n"
    assert json.loads((tmp_path / POINTER).read_text()) == {"name": "iter_000000007", "step": 7, "run": ""}
    manifest = verify(path)
    assert (manifest["step"], manifest["metrics"], manifest["processes"]) == (7, {"val/loss": 0.5}, 1)
    assert manifest["packages"]["torch"] == torch.__version__
    assert set(load_full(path, "optimizer.")) == {"step", "mask"}
    empty = {name: torch.zeros_like(tensor) for name, tensor in some_tensors(7).items()}
    load_tensors(path, empty)
    assert all(torch.equal(empty[name], tensor) for name, tensor in some_tensors(7).items())


def test_training_may_go_on_at_once(tmp_path: Path) -> None:
    store, tensors = CheckpointStore(tmp_path), some_tensors(3)
    tensors["model.large"] = torch.ones(3_000_000)
    store.save(3, tensors, {}, {}, {})
    tensors["model.large"].zero_()
    tensors["model.matrix"].zero_()
    outcome = store.wait()
    found = load_full(outcome.path)
    assert torch.equal(found["model.large"], torch.ones(3_000_000))
    assert torch.equal(found["model.matrix"], some_tensors(3)["model.matrix"])
    assert store.stall_s < outcome.seconds
    assert store.poll() is None  # told once


def test_a_sharded_scalar_may_change_at_once_too(tmp_path: Path) -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        scalar = distribute_tensor(torch.tensor(5.0), mesh, [Replicate()])
        sharded = distribute_tensor(torch.full((2_000_000,), 5.0), mesh, [Shard(0)])
        store = CheckpointStore(tmp_path)
        store.save(1, {"scalar": scalar, "sharded": sharded}, {}, {}, {})
        scalar.to_local().zero_()
        sharded.to_local().zero_()
        found = load_full(store.wait().path)
    finally:
        dist.destroy_process_group()
    assert found["scalar"] == 5.0
    assert torch.equal(found["sharded"], torch.full((2_000_000,), 5.0))


@pytest.mark.parametrize(
    ("saved", "loaded"),
    [("grid", "1"), ("1", "shard"), ("shard", "grid"), ("network", "network1"), ("network1", "network")],
)
def test_any_mesh_loads_what_another_saved(saved: str, loaded: str, tmp_path: Path) -> None:
    processes = {"1": 1, "shard": 2, "grid": 4, "network": 4, "network1": 1}
    start_ranks(processes[saved], "save", str(tmp_path), saved)
    start_ranks(processes[loaded], "load", str(tmp_path), loaded)
    assert verify(checkpoint_path(tmp_path, 1))["processes"] == processes[saved]


def test_old_ones_go_but_the_newest_and_the_best(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=2, keep_best=1, best_metric="val/loss")
    for step, loss in enumerate((0.5, 0.1, 0.7, 0.6, 0.9), start=1):
        save(store, step, **{"val/loss": loss})
    assert sorted(path.name for path in tmp_path.glob("iter_*")) == [f"iter_{n:09d}" for n in (2, 4, 5)]
    high = CheckpointStore(tmp_path / "high", keep_last=1, keep_best=1, best_metric="val/psnr", best_is_low=False)
    for step, psnr in enumerate((20.0, 30.0, 25.0), start=1):
        save(high, step, **{"val/psnr": psnr})
    assert sorted(path.name for path in high.folder.glob("iter_*")) == ["iter_000000002", "iter_000000003"]
    every = CheckpointStore(tmp_path / "every", keep_last=0)
    for step in range(1, 6):
        save(every, step)
    assert len(list(every.folder.glob("iter_*"))) == 5
    assert_content(save(every, 3))  # a step that is there is written again


def test_a_damaged_old_one_does_not_fail_the_next(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=2, keep_best=1, best_metric="val/loss")
    (save(store, 1, **{"val/loss": 0.1}) / "manifest.json").write_text("{")
    for step in (2, 3, 4):
        save(store, step, **{"val/loss": 0.5 + step})
    # whose it is is not known any more: it stays, and counts for nothing
    assert sorted(path.name for path in tmp_path.glob("iter_*")) == [f"iter_{n:09d}" for n in (1, 2, 3, 4)]


def test_exports_that_are_written_meanwhile_are_left_alone(tmp_path: Path) -> None:
    export = tmp_path / ".iter_000000002_reg_model.pt.123.part"
    export.write_bytes(b"half")
    (tmp_path / ".iter_000000001.part").mkdir()
    save(CheckpointStore(tmp_path), 2)
    assert export.read_bytes() == b"half"
    assert not (tmp_path / ".iter_000000001.part").exists()


def test_a_kill_while_a_step_is_written_anew_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CheckpointStore(tmp_path)
    path = save(store, 1)

    def killed(self: Path, target: Path) -> Path:
        if self.name.endswith(".part"):
            raise OSError("killed")
        return rename(self, target)

    rename = Path.rename
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        store.save(1, some_tensors(9), {}, {}, {})
        assert "killed" in store.wait().error
    assert_content(path)  # a rename that fails undoes the one before
    assert not list(tmp_path.glob(".iter_*"))
    path.rename(tmp_path / ".iter_000000001.old")  # as a kill between the two leaves it
    assert newest_good(tmp_path, print) is None  # looking changes nothing
    put_back(tmp_path)
    assert newest_good(tmp_path, print) == path
    assert_content(save(store, 1))
    assert [entry.name for entry in tmp_path.iterdir() if "iter" in entry.name] == [path.name]


def test_a_failed_save_is_told_and_the_next_one_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(tmp_path)
    first = save(store, 1)

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_store, "write_manifest", full)
        store.save(2, some_tensors(2), {}, {}, {})
        outcome = store.wait()
    assert "No space left on device" in outcome.error
    assert outcome.path is None
    assert [path.name for path in tmp_path.iterdir() if "iter" in path.name] == [first.name]
    verify(first)
    assert_content(save(store, 2))


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("cannot mount a small file system here")
    try:
        store = CheckpointStore(disk / "checkpoints")
        first = save(store, 1)
        filler = disk / "filler"
        filler.write_bytes(b"x" * (7 << 20))
        store.save(2, some_tensors(2) | {"model.large": torch.ones(1 << 20)}, {}, {}, {})
        assert store.wait().error
        verify(first)
        assert not list(store.folder.glob(".iter*"))
        filler.unlink()
        assert_content(save(store, 2))
    finally:
        subprocess.run(["umount", str(disk)], check=False)


class Calls:
    """Counts the calls that Python makes in this thread and in those started later, and ends the process at one."""

    def __init__(self, last: float = float("inf")) -> None:
        self.count, self.last = 0, last

    def __call__(self, *event: object) -> None:
        self.count += 1
        if self.count >= self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def __enter__(self) -> Calls:
        threading.setprofile(self)
        sys.setprofile(self)
        return self

    def __exit__(self, *error: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)


def _save_until_killed(folder: Path, calls: int) -> None:
    store = CheckpointStore(folder, keep_last=2)
    step = max((checkpoint_step(path) for path in folder.glob("iter_*")), default=0)
    with Calls(calls):
        while True:
            step += 1
            save(store, step)


@pytest.mark.slow
def test_fifty_kills_at_any_moment_leave_a_checkpoint_that_loads(tmp_path: Path) -> None:
    """Moments are counted in calls, up to two saves and a half: the speed of the machine does not matter."""
    rng = random.Random(1)
    store = CheckpointStore(tmp_path)
    save(store, 1)
    with Calls() as of_a_save:
        save(store, 2)
    seen = []
    for _ in range(50):
        calls = rng.randrange(1, int(2.5 * of_a_save.count))
        child = os.fork()  # torch is imported already
        if child == 0:
            torch.set_num_threads(1)
            try:
                _save_until_killed(tmp_path, calls)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        told: list[str] = []
        newest = newest_good(tmp_path, told.append)
        assert newest is not None
        assert not told  # what has a name is whole
        pointed = tmp_path / json.loads((tmp_path / POINTER).read_text())["name"]
        assert pointed.is_dir()
        assert checkpoint_step(pointed) <= checkpoint_step(newest)  # less where the name was not written any more
        assert_content(newest)
        seen.append(checkpoint_step(newest))
    assert seen == sorted(seen)
    assert seen[-1] > 10  # some saves came to an end
    save(CheckpointStore(tmp_path, keep_last=1), seen[-1] + 5)
    assert [path.name for path in tmp_path.iterdir() if "iter" in path.name] == [f"iter_{seen[-1] + 5:09d}"]
    shutil.rmtree(tmp_path)
