from types import SimpleNamespace

import pytest
import torch

from cosmos_lidar.training.config import EmaConfig
from cosmos_lidar.training.ema import Ema, decay_at, power_exponent


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
