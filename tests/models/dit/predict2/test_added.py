from __future__ import annotations

import torch

from cosmos_lidar.models.dit.predict2.added import is_added, start_of


def test_additions_and_what_they_start_with() -> None:
    shape = torch.Size([6, 16])
    assert is_added("sweep_attention.to_key.weight")
    assert not is_added("blocks.0.self_attn.q_proj.weight")
    assert start_of("blocks.0.self_attn.q_proj.weight", shape, {}) is None
    content = {"blocks.1.mlp.layer1.weight": torch.ones(shape)}
    copied = start_of("control_blocks.1.mlp.layer1.weight", shape, content)
    assert torch.equal(copied, torch.ones(shape))
    assert copied.data_ptr() != content["blocks.1.mlp.layer1.weight"].data_ptr()  # trained apart
    assert start_of("control_blocks.0.mlp.layer1.weight", shape, content) is None
    for name in ("ray_embedder.weight", "control_embedder.weight", "sweep_attention.to_out.weight",
                 "control_outputs.3.weight"):  # fmt: skip
        assert torch.equal(start_of(name, shape, {}), torch.zeros(shape))
    first, other = (start_of(f"sweep_attention.{name}.weight", shape, {}) for name in ("to_key", "to_value"))
    assert torch.equal(first, start_of("sweep_attention.to_key.weight", shape, {}))
    assert not torch.equal(first, other)
    assert 0.1 < float(first.std()) < 0.4  # 1 / sqrt(16)
