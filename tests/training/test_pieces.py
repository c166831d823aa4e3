import pickle
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cosmos_lidar.errors import DataError, UserError

pytest.importorskip("nemo")
pytest.importorskip("megatron.energon")

from cosmos_lidar.training.checkpoints import LATEST, checkpoint_step, find_resume
from cosmos_lidar.training.ema import Ema
from cosmos_lidar.training.files import read_tensors, write_whole
from cosmos_lidar.training.lidar_tokenizer import lr_factor
from cosmos_lidar.training.run_log import RunLog, read_metrics
from cosmos_lidar.training.state_tree import from_plain, random_state, set_random_state, to_plain


def test_random_numbers_survive_a_file(tmp_path: Path):
    path = tmp_path / "state.pt"
    torch.save(random_state(with_cuda=False), path)
    drawn = random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
    set_random_state(torch.load(path, weights_only=True))
    again = random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
    assert drawn == again


def test_loader_states_survive_a_file(tmp_path: Path):
    from megatron.energon.rng import SystemRngState
    from megatron.energon.savable_loader import SavableDataLoaderState
    from megatron.energon.state import FlexState

    inner = FlexState(a=(1, (2, None)), b={3: b"x"}, c=np.arange(3, dtype=np.uint32))
    state = SavableDataLoaderState(worker_states=[inner], next_worker_id=1, micro_batch_size=None)
    torch.save(to_plain([state, SystemRngState(torch=torch.ones(2), numpy=None, random=(3,))]), tmp_path / "x")
    back, rng = from_plain(torch.load(tmp_path / "x", weights_only=True))
    assert isinstance(back, SavableDataLoaderState)
    assert isinstance(back.worker_states[0], FlexState)
    assert back.worker_states[0]["a"] == (1, (2, None))
    assert back.worker_states[0]["b"] == {3: b"x"}
    assert back.worker_states[0]["c"].dtype == np.uint32
    assert rng.random == (3,)
    with pytest.raises(TypeError, match="SimpleNamespace"):
        to_plain([SimpleNamespace()])
    with pytest.raises(DataError, match="Popen"):
        from_plain({"__kind__": "Popen", "items": []})


def test_files_are_whole_or_not_there(tmp_path: Path):
    path = tmp_path / "a"
    path.write_text("old")

    def fail(partial: Path) -> None:
        partial.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_checkpoints_run_no_code_and_damage_is_named(tmp_path: Path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / "iter_000000001.ckpt"
    torch.save({"x": Evil()}, path)
    with pytest.raises(DataError, match="iter_000000001.ckpt"):
        read_tensors(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DataError, match="cannot be read as a checkpoint"):
        read_tensors(path)
    assert not (tmp_path / "ran").exists()
    torch.save({"x": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(DataError, match="iter_000000001.ckpt"):
        read_tensors(path)
    with pytest.raises(DataError, match="no such file"):
        read_tensors(tmp_path / "none.ckpt")


def test_which_checkpoint_is_gone_on_from(tmp_path: Path):
    assert find_resume("auto", tmp_path) is None
    (tmp_path / LATEST).write_text("iter_000000007.ckpt\n")
    assert find_resume("auto", tmp_path) is None  # the file that it names is gone
    newest = tmp_path / "iter_000000007.ckpt"
    newest.touch()
    assert find_resume("auto", tmp_path) == newest
    assert find_resume("none", tmp_path) is None
    assert find_resume(str(newest), tmp_path / "other") == newest
    with pytest.raises(UserError, match="trainer.resume=x.ckpt"):
        find_resume("x.ckpt", tmp_path)
    assert (checkpoint_step(newest), checkpoint_step(tmp_path / "model.ckpt")) == (7, -1)


def test_ema_is_the_published_formula():
    network = torch.nn.Linear(2, 2, dtype=torch.bfloat16)
    model = SimpleNamespace(network=network)
    ema = Ema(decay=0.75)
    start = network.weight.detach().float().clone()
    ema.on_fit_start(None, model)
    wanted = start
    for step in range(3):
        with torch.no_grad():
            network.weight += step
        ema.on_train_batch_end(None, model, None, None, 0)
        wanted = 0.75 * wanted + 0.25 * network.weight.detach().float()
    assert ema.average["weight"].dtype == torch.float32
    torch.testing.assert_close(ema.average["weight"], wanted)
    own = network.weight.detach().clone()
    with ema.swapped_in(network):
        torch.testing.assert_close(network.weight.detach(), wanted.bfloat16())
    assert torch.equal(network.weight.detach(), own)
    other = Ema(decay=0.75)
    other.load_state_dict(ema.state_dict())
    other.on_fit_start(None, model)
    assert torch.equal(other.average["weight"], ema.average["weight"])


def test_warm_up_as_published():
    assert [lr_factor(step, 5000) for step in (0, 2499, 4999, 9999)] == [0.0002, 0.5, 1.0, 1.0]
    assert lr_factor(0, 0) == 1.0
    assert [lr_factor(step, 0, 100) for step in (0, 50, 100, 150)] == pytest.approx([1.0, 0.5, 0.0, 0.0])


def test_metrics_of_steps_that_are_run_again_are_dropped(tmp_path: Path):
    trainer = SimpleNamespace(is_global_zero=True, loggers=[], world_size=1, global_step=0, max_steps=9)
    log = RunLog(tmp_path / "metrics.csv", every=1, batch_size=1)
    log.on_train_start(trainer, None)
    for step in (1, 2, 3):
        log.write(trainer, step, {"loss": 0.1 * step})
    log.write(trainer, 3, {"val/loss": 0.5})
    trainer.global_step = 2
    log.on_train_start(trainer, None)
    log.write(trainer, 3, {"loss": 0.7})
    rows = read_metrics(tmp_path / "metrics.csv")
    found = [(row["step"], row["loss"], row["val/loss"]) for row in rows]
    assert found == [("1", "0.1", ""), ("2", "0.2", ""), ("3", "0.7", "")]
    log.on_train_end(trainer, None)
