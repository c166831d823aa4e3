"""The discriminator learns to tell recordings from reconstructions; its losses, start, and part in checkpoints."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("nemo")

from cosmos_lidar.families.video_tokenizer.config import AdversarialConfig
from cosmos_lidar.families.video_tokenizer.discriminator import Adversary
from cosmos_lidar.training.config import OptimConfig

SIZE = (2, 3, 3, 32, 32)


def adversary(lr: float = 1e-3) -> Adversary:
    torch.manual_seed(0)
    return Adversary(AdversarialConfig(weight=1.0, start=3, channels=8, layers=2), OptimConfig(lr=lr))


def clips() -> tuple[torch.Tensor, torch.Tensor]:
    """Reconstructions that are dark, recordings that are light."""
    generator = torch.Generator().manual_seed(1)
    made, recorded = (torch.rand(SIZE, generator=generator) for _ in range(2))
    return made - 1.0, recorded


def test_losses_are_hinges_of_the_verdicts() -> None:
    one, (made, recorded) = adversary(), clips()
    found = one.judge(made, recorded)
    verdicts = [one.network(batch).detach() for batch in (made, recorded)]
    hinge = 0.5 * (torch.relu(1 + verdicts[0]).mean() + torch.relu(1 - verdicts[1]).mean())
    assert found["critic"].item() == pytest.approx(hinge.item(), rel=1e-5)
    assert found["adversarial"].item() == pytest.approx(-verdicts[0].mean().item(), rel=1e-5)


def test_it_learns_and_leaves_the_tokenizer_its_gradient() -> None:
    one, (made, recorded) = adversary(3e-3), clips()
    made.requires_grad_(True)
    losses = []
    for _ in range(30):
        values = one.play(made, recorded)
        losses.append(values["critic"].item())
    assert losses[-1] < 0.5 * losses[0]
    assert made.grad is None  # its own update goes into no reconstruction
    assert not any(parameter.requires_grad for parameter in one.network.parameters())
    values["adversarial"].backward()
    assert made.grad.abs().sum() > 0
    before = [parameter.clone() for parameter in one.network.parameters()]
    one.judge(made, recorded)
    assert all(torch.equal(old, new) for old, new in zip(before, one.network.parameters(), strict=True))


def test_it_starts_at_its_step() -> None:
    assert [adversary().active(step) for step in (0, 2, 3, 4)] == [False, False, True, True]


def test_a_checkpoint_holds_weights_and_moments() -> None:
    one, (made, recorded) = adversary(), clips()
    one.play(made, recorded)
    tensors = one.tensors()
    weights = {
        name.removeprefix("adversary."): value for name, value in tensors.items() if name.startswith("adversary.")
    }
    assert weights.keys() == one.network.state_dict().keys()
    moments = [name for name in tensors if name.startswith("adversary_optimizer.")]
    assert sum(name.endswith("exp_avg_sq") for name in moments) == len(list(one.network.parameters()))
