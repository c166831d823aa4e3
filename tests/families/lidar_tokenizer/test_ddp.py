from pathlib import Path

import pytest
import torch

pytest.importorskip("nemo")
pytest.importorskip("megatron.energon")

from cosmos_lidar.models.tokenizer import build_tokenizer
from cosmos_lidar.training.checkpoint.reading import load_full, load_state
from cosmos_lidar.training.overrides import save_config
from cosmos_lidar.training.run_folder import run_folder
from cosmos_lidar.training.run_log import read_metrics
from cosmos_lidar.training.schedule import lr_factor
from tests.workers.client import torchrun

ROOT = Path(__file__).resolve().parents[3]
STEPS = 3


def test_two_processes_train_like_one_with_both_their_batches(small_run, tmp_path: Path):
    # The large eps keeps Adam from blowing up rounding noise where a gradient is exactly zero (biases before a norm).
    run = small_run(f"trainer.max_steps={STEPS}", "log.name=ddp", "optim.warmup_steps=2", "optim.eps=1e-3")
    save_config(run, tmp_path / "config.yaml")
    done = torchrun(2, ROOT / "tests" / "workers" / "ddp_worker.py", tmp_path, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert [rank["step"] for rank in ranks] == [STEPS, STEPS]
    keys = [{key for key, _ in rank["seen"]} for rank in ranks]
    assert all(keys)
    assert keys[0].isdisjoint(keys[1])

    weights, losses = _train_alone(run, ranks)
    checkpoint = run_folder(run) / "checkpoints" / f"iter_{STEPS:09d}"
    trained = load_full(checkpoint, "model.")
    for name, value in weights.items():
        # Sums run in another order here than over two ranks; a hundredth of one update is far below any wrong average.
        torch.testing.assert_close(trained[name], value, rtol=1e-4, atol=1e-5)
    rows = [row for row in read_metrics(run_folder(run) / "metrics.csv") if row["loss"]]
    assert [float(row["loss"]) for row in rows] == pytest.approx(losses, rel=1e-5)
    assert len(load_state(checkpoint)["ranks"]) == 2


def _train_alone(run, ranks) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Take the same steps in this process with the two ranks' batches put together, without any trainer."""
    torch.manual_seed(run.trainer.seed)
    config = run.model
    network = build_tokenizer(
        config.name, channels=config.channels, channels_mult=config.channels_mult,
        num_res_blocks=config.num_res_blocks, resolution=config.resolution,
    )  # fmt: skip
    optim = run.optim
    optimizer = torch.optim.AdamW(
        network.parameters(), betas=tuple(optim.betas), eps=optim.eps, weight_decay=optim.weight_decay
    )
    losses = []
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = optim.lr * lr_factor(step, optim)
        images = torch.cat([rank["batches"][step] for rank in ranks])
        loss = (network.decode(network.encode(images)) - images).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), optim.clip_norm)
        optimizer.step()
        losses.append(loss.item())
    return network.state_dict(), losses
