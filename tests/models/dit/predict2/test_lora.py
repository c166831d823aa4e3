"""Adapters of the Predict2 network against published outputs, losses and gradients."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cosmos_lidar.models.dit.lora import add_lora
from tests.models.dit.predict2.reference import inputs, pseudo_random, tiny_network, vectors
from tests.models.tokenizer.reference import hash01

SALT, SIGMA = 20261128, 5.0


def adapted_network() -> nn.Module:
    network = add_lora(tiny_network(), 4, 8.0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.requires_grad:
                u = 2 * hash01(parameter.numel(), zlib.crc32(name.encode()) ^ SALT) - 1
                size = (3 / parameter.shape[1]) ** 0.5 if "lora_A" in name else 0.05
                parameter.copy_(torch.from_numpy(u * size).float().view(parameter.shape))
    return network


def loss_and_x0(network: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss at sigma 5 with one clean frame in each view: velocity error, zero on that frame."""
    given = inputs()
    clean, mask = pseudo_random((1, 16, 6, 8, 12), 1002), given["condition_mask"]
    noisy, t = clean + SIGMA * given["x"], SIGMA / (1 + SIGMA)
    times = torch.where(mask[:, 0, :, 0, 0] > 0, 1e-4 / (1 + 1e-4), t)
    out = network(**given | {"x": torch.where(mask > 0, clean, (1 - t) * noisy), "timesteps": times})
    x0 = torch.where(mask > 0, clean, (1 - t) * noisy - t * out)
    return ((x0 - clean).square() / t**2).mean(), x0


def test_outputs_losses_and_gradients() -> None:
    known, network = vectors("predict2_lora"), adapted_network()
    with np.load(Path(__file__).parents[3] / "vectors" / "predict2_lora.npz") as file:
        names, whole = file["grad_names"].tolist(), file["grad_full_names"].tolist()
    trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert set(trained) == set(names)
    assert sum(parameter.numel() for parameter in trained.values()) == 28_672
    with torch.no_grad():
        torch.testing.assert_close(network(**inputs()), known["y_lora"], atol=1e-4, rtol=1e-5)
        assert float(loss_and_x0(tiny_network())[0]) == pytest.approx(float(known["loss_base"]), rel=1e-5)
    loss, x0 = loss_and_x0(network)
    torch.testing.assert_close(x0.detach(), known["x0_lora"], atol=1e-4, rtol=1e-5)
    assert float(loss.detach()) == pytest.approx(float(known["loss_lora"]), rel=1e-5)
    loss.backward()
    for name, norm, total in zip(names, known["grad_norm"].tolist(), known["grad_sum"].tolist(), strict=True):
        gradient = trained[name].grad.double()
        assert float(gradient.norm()) == pytest.approx(norm, rel=1e-4), name
        assert float(gradient.sum()) == pytest.approx(total, abs=1e-4 * norm * gradient.numel() ** 0.5), name
    for name, wanted in zip(whole, (known["grad_first"], known["grad_last"]), strict=True):
        torch.testing.assert_close(trained[name].grad, wanted, atol=1e-4 * float(wanted.abs().max()), rtol=1e-4)


def test_a_step_of_the_optimizer() -> None:
    network = adapted_network()
    adapters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(adapters, lr=1e-3, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1)
    loss_and_x0(network)[0].backward()
    optimizer.step()
    with torch.no_grad():
        loss = loss_and_x0(network)[0]
    assert float(loss) == pytest.approx(float(vectors("predict2_lora")["loss_after_step"]), rel=1e-4)
