import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cosmos_lidar.errors import DataError, UserError

pytest.importorskip("nemo")
pytest.importorskip("megatron.energon")

from cosmos_lidar.training.checkpoint.callback import find_resume
from cosmos_lidar.training.checkpoint.state_tree import from_plain, random_state, set_random_state, to_plain
from cosmos_lidar.training.checkpoint.store import CheckpointStore
from cosmos_lidar.training.config import EmaConfig, GuardConfig, OptimConfig
from cosmos_lidar.training.ema import Ema, decay_at, power_exponent
from cosmos_lidar.training.guards.loss_spikes import SpikeGuard
from cosmos_lidar.training.measure.flops import training_flops
from cosmos_lidar.training.measure.step_clock import StepClock
from cosmos_lidar.training.model import lr_factor
from cosmos_lidar.training.run_log import RunLog, StepSize, read_metrics


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


def test_which_checkpoint_is_gone_on_from(tmp_path: Path):
    assert find_resume("auto", tmp_path) is None
    store = CheckpointStore(tmp_path)
    for step in (6, 7):
        store.save(step, {"x": torch.ones(2)}, {}, {}, {})
        newest = store.wait().path
    assert find_resume("auto", tmp_path) == newest
    assert find_resume("none", tmp_path) is None
    assert find_resume(str(newest), tmp_path / "other") == newest
    with pytest.raises(UserError, match="trainer.resume=x"):
        find_resume("x", tmp_path)
    (newest / "state.pt").write_bytes(b"")
    assert find_resume("auto", tmp_path).name == "iter_000000006"
    with pytest.raises(DataError, match="iter_000000007/state.pt"):
        find_resume(str(newest), tmp_path)


def test_ema_is_the_published_formula():
    network = torch.nn.Linear(2, 2, dtype=torch.bfloat16)
    model = SimpleNamespace(network=network)
    ema = Ema(EmaConfig(decay=0.75))
    start = network.weight.detach().float().clone()
    ema.on_fit_start(None, model)
    wanted = start
    for step in range(3):
        with torch.no_grad():
            network.weight += step
        ema.on_train_batch_end(SimpleNamespace(global_step=step + 1), model, None, None, 0)
        wanted = 0.75 * wanted + 0.25 * network.weight.detach().float()
    assert ema.average["weight"].dtype == torch.float32
    torch.testing.assert_close(ema.average["weight"], wanted)
    own = network.weight.detach().clone()
    with ema.swapped_in(network):
        torch.testing.assert_close(network.weight.detach(), wanted.bfloat16())
    assert torch.equal(network.weight.detach(), own)


def test_power_average_has_the_published_numbers():
    widths = {0.1: 6.937203938, 0.05: 16.972198602, 0.025: 36.986839712}
    assert {width: power_exponent(width) for width in widths} == pytest.approx(widths, rel=1e-9)
    config = EmaConfig(kind="power", width=0.1)
    decays = {0: 0.0, 1: 0.00408003166, 10: 0.469307848, 100: 0.924060434, 2000: 0.996040250}
    assert {step: decay_at(config, step) for step in decays} == pytest.approx(decays, rel=1e-6)


def test_warm_up_as_published():
    published = OptimConfig(warmup_steps=5000)
    assert [lr_factor(step, published) for step in (0, 2499, 4999, 9999)] == [0.0002, 0.5, 1.0, 1.0]
    assert lr_factor(0, OptimConfig(warmup_steps=0)) == 1.0
    cosine = OptimConfig(warmup_steps=0, decay_until=100)
    assert [lr_factor(step, cosine) for step in (0, 50, 100, 150)] == pytest.approx([1.0, 0.5, 0.0, 0.0])


def test_a_jump_is_far_above_the_median_of_the_window():
    guard = SpikeGuard(GuardConfig(spike="skip", spike_score=5.0, spike_window=8))
    losses = [1.0, 1.2, 0.8, 1.1]
    assert not any(guard.jumps(loss) for loss in [*losses[:3], 100.0])  # fewer than half a window: all are taken
    guard.load_state_dict({"window": losses, "rollbacks": 0})
    # median 1.05, absolute deviations 0.05 0.15 0.25 0.05: their median is 0.1
    assert guard.score(2.0) == pytest.approx(0.95 / (1.4826 * 0.1))
    assert guard.jumps(1.05 + 5.01 * 0.14826)
    assert not guard.jumps(1.05 + 4.99 * 0.14826)
    assert guard.state_dict()["window"] == [*losses, 1.05 + 4.99 * 0.14826]  # what jumped is not taken
    assert not SpikeGuard(GuardConfig(spike="off")).jumps(1e9)


def test_flops_are_those_of_a_formula():
    from cosmos_lidar.models.dit import build_dit

    network = build_dit("faditv2_debug", n_views=1)
    config, (frames, height, width), text = network.config, (2, 8, 12), 5
    inputs = torch.empty(1, 16, frames, height, width, device="meta"), torch.empty(1, device="meta")
    c, tokens = config.model_channels, frames * height * width // 4
    hidden, rank, blocks = 4 * c, config.adaln_lora_dim, config.num_blocks
    attention = 4 * 2 * tokens * c * c + 4 * tokens * tokens * c
    cross = 2 * 2 * tokens * c * c + 2 * 2 * text * 64 * c + 4 * tokens * text * c
    mlp = 2 * 2 * tokens * c * hidden
    modulation = 2 * (c * rank + rank * 3 * c)
    ends = 2 * tokens * (config.patch_channels * c + c * 64) + 2 * (c * c + 3 * c * c) + 2 * (c * rank + rank * 2 * c)
    wanted = 3 * (blocks * (attention + cross + mlp + 3 * modulation) + ends)
    found = training_flops(network, (*inputs, torch.empty(1, text, 64, device="meta")))
    assert found == pytest.approx(wanted, rel=1e-3)


def test_metrics_of_steps_that_are_run_again_are_dropped(tmp_path: Path):
    trainer = SimpleNamespace(is_global_zero=True, loggers=[], world_size=1, global_step=0, max_steps=9)
    model = SimpleNamespace(clock=StepClock())
    log = RunLog(tmp_path / "metrics.csv", 1, ("loss",), ("val/loss",), StepSize(1, 1, 1, 1, None))
    log.on_train_start(trainer, model)
    for step in (1, 2, 3):
        log.write(trainer, step, {"loss": 0.1 * step})
    log.write(trainer, 3, {"val/loss": 0.5})
    trainer.global_step = 2
    log.on_train_start(trainer, model)
    log.write(trainer, 3, {"loss": 0.7})
    rows = read_metrics(tmp_path / "metrics.csv")
    found = [(row["step"], row["loss"], row["val/loss"]) for row in rows]
    assert found == [("1", "0.1", ""), ("2", "0.2", ""), ("3", "0.7", "")]
    log.on_train_end(trainer, model)
