"""Predicted step times by hand, and against the published seconds of multi-view post-training."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from cosmos_lidar.models.plan import ParallelPlan
from cosmos_lidar.parallel.mesh import MeshSizes
from cosmos_lidar.training.config import ParallelConfig, TrainerConfig
from cosmos_lidar.training.preflight.machines import MACHINES
from cosmos_lidar.training.preflight.step_time import predict_step, seconds_of
from cosmos_lidar.training.preflight.workload import Exchanged, Operation, Unit, Workload

H200, H100_NVL = MACHINES["h200"], MACHINES["h100-nvl"]


def configured(workers: int = 6, **parallel: Any) -> Any:
    """Return the options that a prediction reads."""
    return SimpleNamespace(
        trainer=TrainerConfig(precision="bf16"), parallel=ParallelConfig(**parallel),
        data=SimpleNamespace(batch_size=1, workers=workers),
        model=SimpleNamespace(ema=SimpleNamespace(enabled=True)),
    )  # fmt: skip


def test_an_operation_takes_the_longer_of_flops_and_bytes() -> None:
    product = Operation("matmul", "bf16", int(989.4e12 * 0.8), 1)
    copy = Operation("other", "bf16", 0, int(4800e9 * 0.8))
    found = seconds_of(Counter({product: 2, copy: 3}), H200, share=0.5)
    assert found == pytest.approx({"compute": 1.0, "memory": 1.5})
    assert seconds_of(Counter({product: 1}), H200, precision="fp8")["compute"] == pytest.approx(0.5)
    assert seconds_of(Counter({product: 1}), H200, factors={"matmul": 3.0})["compute"] == pytest.approx(3.0)


def test_loading_bounds_a_short_step() -> None:
    work = transformer(views=1, frame_tokens=64)
    found = predict_step(configured(), ParallelPlan(()), work, MeshSizes(), H200, load_s=60.0)
    assert (found.bound, found.seconds) == ("data loading", 10.0)
    assert predict_step(configured(), ParallelPlan(()), work, MeshSizes(), H200).bound != "data loading"


def test_weights_sharded_over_many_nodes_bound_a_short_step() -> None:
    work = transformer(views=1, frame_tokens=64)
    wide = predict_step(configured(), ParallelPlan(()), work, MeshSizes(data_shard=256), H200)
    assert wide.bound == "network between nodes"
    hybrid = MeshSizes(data_replicate=32, data_shard=8)
    assert predict_step(configured(), ParallelPlan(()), work, hybrid, H200).seconds < wide.seconds
    assert wide.samples == 256
    (row,) = wide.traffic
    assert row.dimension == "data_shard"
    assert row.messages == 28 * 3
    assert 0 < row.waited_s < row.seconds


# Views, tokens of a latent frame, VAE FLOPs and bytes of a view, seconds that a worker loads (benchmarks/launch.py).
PUBLISHED = {
    "720p 7 views": (7, 3520, 1.347e14, 5.54e11, 39.3, 8.9),
    "720p 5 views": (5, 3520, 1.347e14, 5.54e11, 28.1, 6.5),
    "480p 5 views": (5, 1590, 6.02e13, 2.39e11, 21.4, 3.5),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_seconds_come_out_within_a_quarter(name: str) -> None:
    views, tokens, flops, size, load_s, seconds = PUBLISHED[name]
    vae = Counter({Operation("convolution", "bf16", int(flops), 1): 1, Operation("other", "bf16", 0, int(size)): 1})
    run, work = configured(recompute="selective"), transformer(views, tokens, vae)
    found = predict_step(run, ParallelPlan((), context="sequence"), work, MeshSizes(context=8), H100_NVL, load_s)
    assert found.seconds == pytest.approx(seconds, rel=0.25)
    assert found.bound == ("data loading" if name.startswith("480p") else "compute")


def transformer(views: int, frame_tokens: int, vae: Counter[Operation] | None = None) -> Workload:
    """Return the published network of 28 blocks by closed formulas: 8 latent frames a view, 2048 channels."""
    tokens, width, blocks = views * 8 * frame_tokens, 2048, 28
    linear = 28 * width**2 * tokens + 4 * 512 * width * tokens + 4096 * width * 512 * views
    forward = Counter(
        {
            Operation("matmul", "bf16", linear, 1): blocks,
            Operation("attention", "bf16", 4 * width * tokens**2, 8 * width * tokens): blocks,
            Operation("other", "bf16", 0, 200 * width * tokens): blocks,  # bytes: hundred numbers of each channel
        }
    )
    exchanged = Exchanged(attention=[(3 * width * tokens, width * tokens)] * blocks)
    units = [Unit(0, 69_206_528, 1.0, False)] * blocks
    return Workload(forward, lambda ranks: vae or Counter(), exchanged, units)
