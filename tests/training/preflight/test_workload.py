"""What is counted of one sample, against formulas."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn

pytest.importorskip("nemo")

from cosmos_lidar.families.dit.job import make_dry_model
from cosmos_lidar.families.multiview.job import make_dry_model as make_multiview
from cosmos_lidar.recipes import dit, multiview
from cosmos_lidar.training.overrides import apply_overrides
from cosmos_lidar.training.preflight.workload import Operation, count_sample, counting


def _kinds(operations: Counter[Operation]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for one, count in operations.items():
        sums[one.kind] = sums.get(one.kind, 0) + count * one.flops
    return sums


def test_attention_and_a_product_by_hand() -> None:
    operations: Counter[Operation] = Counter()
    with torch.device("meta"), counting(operations):
        q, kv = torch.empty(2, 4, 6, 8), torch.empty(2, 4, 10, 8)
        nn.functional.scaled_dot_product_attention(q, kv, kv)
        torch.empty(6, 8, dtype=torch.bfloat16) @ torch.empty(8, 3, dtype=torch.bfloat16)
    attention = Operation("attention", "fp32", 4 * 2 * 4 * 6 * 10 * 8, 4 * 2 * 4 * 8 * (6 + 10 + 10 + 6))
    product = Operation("matmul", "bf16", 2 * 6 * 8 * 3, 2 * (6 * 8 + 8 * 3 + 6 * 3))
    assert operations == {attention: 1, product: 1}


def test_flops_and_parameters_are_those_of_the_log() -> None:
    run = dit.debug()
    with torch.device("meta"):
        model = make_dry_model(run)
    work = count_sample(model)
    assert work.model_flops == pytest.approx(model.flops_per_sample())
    assert work.parameters == sum(parameter.numel() for parameter in model.network.parameters())
    assert len(work.exchanged.attention) == len(model.network.parallel_plan().attention)
    assert [unit.root for unit in work.units] == [False] * len(model.network.parallel_plan().blocks) + [True]
    assert not work.encoding(1)


def test_ranks_divide_the_views_that_they_encode() -> None:
    small = "data.latent_shape=[16,2,4,6] data.view_ids=[0,1,2] data.path=x data.vae.checkpoint=v.pth".split()
    run = apply_overrides(multiview.debug(), small)
    with torch.device("meta"):
        model = make_multiview(run)
    work = count_sample(model)
    two, eight = (_kinds(work.encoding(ranks))["convolution"] for ranks in (2, 8))
    assert two == 2 * eight
    run.data.vae.cache = "latents"
    assert not count_sample(model).encoding(1)
