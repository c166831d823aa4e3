from __future__ import annotations

import torch

from cosmos_lidar.models.dit import find_shape
from cosmos_lidar.models.dit.predict2.layers import Block
from tests.models.dit.predict2.reference import TINY


@torch.no_grad()
def test_modulation_is_per_frame() -> None:
    """A frame whose time changes is changed everywhere; with gates of zero nothing is."""
    torch.manual_seed(0)
    block = Block(find_shape("predict2_2b_multiview", **TINY))
    width, frames, per_frame = 64, 3, 4
    x, emb = torch.randn(1, frames, per_frame, width), torch.randn(1, frames, width)
    rotary = torch.ones(frames * per_frame, 16), torch.zeros(frames * per_frame, 16)
    for name in ("self_attn", "cross_attn", "mlp"):
        torch.nn.init.zeros_(getattr(block, f"adaln_modulation_{name}")[2].weight)
    lora = torch.zeros(1, frames, 3 * width)
    assert torch.equal(block(x, emb, lora, None, rotary, 1), x)
    lora[:, 1, 2 * width :] = 1  # the gate of the second frame
    changed = (block(x, emb, lora, None, rotary, 1) != x).any(-1)
    assert changed[0].tolist() == [[False] * 4, [True] * 4, [False] * 4]
    one, each = torch.randn(1, 1, 3 * width), torch.randn(1, 1, width)
    shared = block(x.flatten(1, 2)[:, None], each, one, None, rotary, 1).view(x.shape)
    torch.testing.assert_close(block(x, each.expand(1, 3, -1), one.expand(1, 3, -1), None, rotary, 1), shared)
