from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from cosmos_lidar.training.measure.stragglers import OwnTime, Stragglers, judge
from tests.training.debug_runs import FEW
from tests.workers.client import torchrun

ROOT = Path(__file__).resolve().parents[3]


def test_a_rank_is_slow_above_one_and_a_half_times_the_median_if_others_wait_for_it() -> None:
    assert judge([1.0, 1.0, 1.6, 1.1], 4.0).slow == (2,)
    assert judge([1.0, 1.0, 1.4, 1.1], 4.0).slow == ()
    assert judge([1.0, 3.0, 1.0, 2.0, 1.0], 4.0).slow == (1, 3)
    assert judge([1.0, 3.0], 4.0).slow == (1,)  # of two, the faster one is the measure
    assert judge([0.01, 0.03], 4.0).slow == ()  # nobody waits long for it
    assert judge([1.0, 2.0, 3.0], 9.0).ratios == (0.5, 1.0, 1.5)


def test_the_mean_over_a_window_counts_and_not_a_single_step() -> None:
    ranks = Stragglers(window=10)
    for step in range(9):
        assert ranks.add([1.0, 3.0 if step == 4 else 1.0], 1.0) is None
    verdict = ranks.add([1.0, 1.0], 1.0)
    assert verdict is not None
    assert verdict.slow == ()
    assert ranks.values() == {"slow_ratio": 1.2}
    for _ in range(10):
        ranks.add([1.0, 2.0], 1.0)
    assert ranks.values() == {"slow_ratio": 2.0, "slow_rank": 1}


def test_own_time_is_that_of_the_blocks_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    class Block(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            now[0] += 1.0
            return x

    network = nn.Sequential(Block(), Block())
    own = OwnTime(network.children(), on_gpu=False)
    network(torch.zeros(1))
    now[0] += 100.0  # waiting for others
    assert own.read(5.0) == 5.0 + 3 * 2.0
    with torch.no_grad():
        network(torch.zeros(1))  # a validation
    assert own.read(0.0) == 0.0
    own.close()
    network(torch.zeros(1))
    assert own.read(0.0) == 0.0


SLOW = """
import os, sys, time
from cosmos_lidar.training.measure import stragglers
from cosmos_lidar.training.run_log import RunLog
start = RunLog.on_train_start
def short(self, *values):
    self._stragglers.window = 3
    start(self, *values)
RunLog.on_train_start = short
from cosmos_lidar.recipes import dit
from cosmos_lidar.models.dit import layers
block = layers.{block}
forward = block.forward
def slow(self, *args, **kwargs):
    time.sleep(1.0 if os.environ["RANK"] == "1" else 0.0)
    return forward(self, *args, **kwargs)
block.forward = slow
sys.exit(dit.FAMILY.main())
"""


@pytest.mark.slow
def test_a_slow_rank_is_named_in_the_log_and_in_the_metrics(tmp_path: Path) -> None:
    options = ["recipe=debug", *FEW, f"log.root={tmp_path}", "trainer.max_steps=3", "trainer.log_every=1"]
    done = torchrun(2, "-c", SLOW.replace("{block}", "Block"), *options, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    said = " ".join(done.stderr.split())
    assert re.search(r"rank 1 \(\S+\) is slow: its own work takes \d+\.\d+ times as long as the median", said)
    rows = (tmp_path / "posttraining" / "diffusion" / "debug" / "metrics.csv").read_text().splitlines()
    table = [dict(zip(rows[0].split(","), row.split(","), strict=True)) for row in rows[1:]]
    last = [row for row in table if row["loss"]][-1]
    assert last["slow_rank"] == "1"
    assert float(last["slow_ratio"]) > 1.5
    assert table[0]["slow_rank"] == ""
