"""The loss of multi-view training by the formula, and what is random in it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from cosmos_lidar.families.multiview.job import make_dry_model
from cosmos_lidar.families.multiview.model import MultiviewModel
from cosmos_lidar.parallel.mesh import mesh_sizes
from cosmos_lidar.recipes import multiview
from cosmos_lidar.training.measure.flops import forward_flops
from cosmos_lidar.training.overrides import apply_overrides
from cosmos_lidar.training.preflight.prediction import predict
from tests.families.multiview.runs import some_run

pytest.importorskip("nemo")


def stirred(root: Path, *options: str) -> MultiviewModel:
    torch.manual_seed(0)
    model = make_dry_model(some_run(root, "x", *options))
    with torch.no_grad():
        for parameter in model.network.parameters():  # the modulation starts at zero
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def test_the_loss_is_the_velocity_error_of_frames_that_are_not_given(tmp_path: Path) -> None:
    model = stirred(tmp_path, "model.condition.frames=[1]", "model.condition.text_dropout=0")
    batch = model.example_batch(2)
    batch.latents, batch.text = torch.randn(2, 16, 4, 8, 12), torch.randn(2, 16, 64)
    batch.noise_seeds = [3, 9]
    values = model.step(batch)
    wanted = []
    for number, seed in enumerate(batch.noise_seeds):
        sigma, count, text, noise, *_ = model._draw(seed, batch.latents.shape[1:])
        assert (count, text) == (1, True)
        clean, t = batch.latents[number], float(sigma / (1 + sigma))
        x = (1 - t) * clean + t * noise
        x[:, ::2] = clean[:, ::2]
        times = torch.tensor([[1e-4 / 1.0001, t] * 2])
        mask = torch.tensor([1.0, 0, 1, 0]).view(1, 1, 4, 1, 1).expand(1, 1, 4, 8, 12)
        ids = torch.tensor([[0, 0, 5, 5]])
        out = model.network(x[None], times, batch.text[number : number + 1], mask, 10.0, view_indices=ids)[0]
        error = (out - (noise - clean))[:, 1::2].square().sum() / clean.numel()
        wanted.append(float(error))
    assert float(values["velocity_error"]) == pytest.approx(sum(wanted) / 2, rel=1e-4)
    assert float(values["loss"]) == pytest.approx(10 * sum(wanted) / 2, rel=1e-4)


def test_draws_are_those_of_the_options_and_of_each_seed_alone(tmp_path: Path) -> None:
    options = "model.condition.frames=[0,1]", "model.condition.weights=[0.25,0.75]", "model.noise.high_ratio=0"
    model, shape = stirred(tmp_path, *options), torch.Size([16, 4, 8, 12])
    draws = [model._draw(seed, shape) for seed in range(400)]
    assert 0.68 < sum(draw.given for draw in draws) / 400 < 0.82
    assert 0.74 < sum(draw.text for draw in draws) / 400 < 0.86
    levels = torch.cat([draw.sigma for draw in draws]).log()
    assert float(levels.mean()) == pytest.approx(0.5 * math.log(2.0), abs=0.15)  # sqrt of two frames
    assert float(levels.std()) == pytest.approx(1.0, abs=0.1)
    again = model._draw(7, shape)
    assert torch.equal(again.noise, draws[7].noise)
    assert torch.equal(again.sigma, draws[7].sigma)


@torch.no_grad()
def test_dropped_text_is_no_text(tmp_path: Path) -> None:
    model = stirred(tmp_path, "model.condition.text_dropout=1")
    batch = model.example_batch(1)
    batch.latents, batch.text = torch.randn(1, 16, 4, 8, 12), torch.randn(1, 16, 64)
    dropped = float(model.step(batch)["loss"])
    batch.text = torch.zeros_like(batch.text)
    assert float(model.step(batch)["loss"]) == dropped


@torch.no_grad()
def test_control_videos_are_seen_or_left_out_kind_by_kind(tmp_path: Path) -> None:
    options = ["synthetic_clips=0", "data.path=x", "data.vae.checkpoint=y"]
    values = {}
    for dropout in (0, 1):
        model = stirred(tmp_path, *options, "model.control.kinds=[depth]", f"model.control.dropout={dropout}")
        batch = model.example_batch(1)
        batch.latents, batch.noise_seeds = torch.randn(1, 16, 4, 8, 12, generator=torch.manual_seed(3)), [5]
        batch.controls = torch.randn(1, 1, 16, 4, 8, 12, generator=torch.manual_seed(4))
        seen = float(model.step(batch)["loss"])
        batch.controls = torch.zeros_like(batch.controls)
        values[dropout] = seen, float(model.step(batch)["loss"])
    assert values[0][0] != values[0][1]
    assert values[1][0] == values[1][1] == pytest.approx(values[0][1])


def test_flops_and_tokens_are_counted(tmp_path: Path) -> None:
    model = stirred(tmp_path)
    assert model.items_per_sample() == 4 * 4 * 6
    assert model.flops_per_sample() == 3 * forward_flops(model.network, model.example_inputs())


@pytest.mark.parametrize("context", [1, 2])
def test_memory_is_predicted_without_values(context: int) -> None:
    """Nothing that is drawn, and no frame rate, is read back from tensors."""
    options = [f"parallel.context={context}", "model.lora.rank=2"]
    if context == 2:  # with everything that may be given beside
        options += ["model.rays=true", "model.control.kinds=[depth,boxes]", "synthetic_clips=0", "data.path=x"]
        options += ["model.sweeps.size=[32,64]"]
        options += ["data.vae.checkpoint=y"]
    run = apply_overrides(multiview.debug(), options)
    found = predict(run, multiview.FAMILY, mesh_sizes(0, 1, context, 1, context))
    assert not found.peak_unknown
    assert found.activations > 0
    assert found.flops > 0
