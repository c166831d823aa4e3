import pytest
import torch

from cosmos_lidar.training.measure.flops import training_flops


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
