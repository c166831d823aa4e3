from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cosmos_lidar.losses.adversarial import PatchDiscriminator, adaptive_weight, critic_hinge, generator_hinge


def clips(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_hinge_losses_by_hand():
    recorded, made = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.25])
    assert critic_hinge(recorded, made).item() == pytest.approx(0.5 * (0.5 / 2 + 1.25 / 2))
    assert generator_hinge(made).item() == pytest.approx(2.75 / 2)


@pytest.mark.parametrize("frames", [1, 5, 9])
def test_the_critic_learns_to_tell_and_takes_any_length(frames: int):
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(channels=8, layers=2)
    optimizer = torch.optim.Adam(discriminator.parameters(), 1e-2)
    recorded, made = clips(2, 3, frames, 32, 32), clips(2, 3, frames, 32, 32, seed=1) * 0.2
    first = critic_hinge(discriminator(recorded), discriminator(made))
    for _ in range(25):
        loss = critic_hinge(discriminator(recorded), discriminator(made))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.5 * first
    assert discriminator(recorded).mean() > discriminator(made).mean()


def test_the_adaptive_weight_makes_gradients_equally_large():
    made = clips(1, 3, 2, 4, 4).requires_grad_()
    target = clips(1, 3, 2, 4, 4, seed=1)
    reconstruction, adversarial = (made - target).square().sum(), -(made * target).sum()
    factor = adaptive_weight(reconstruction, adversarial, made)
    wanted = (2 * (made - target)).norm() / (target.norm() + 1e-4)
    assert factor.item() == pytest.approx(wanted.item(), rel=1e-5)
    assert not factor.requires_grad
    (reconstruction + factor * adversarial).backward()  # the graph is still there
    assert adaptive_weight((made * 1e9).sum(), (made * 0.0).sum(), made) == 1e4
