"""Attention among the tokens of the same view or instant, against a mask; what it saves."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from cosmos_lidar import kernels
from cosmos_lidar.errors import UserError
from cosmos_lidar.models.deferred import build_deferred
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.predict2.scope import SameViewOrFrame, attend
from cosmos_lidar.training.measure.flops import forward_flops
from tests.models.dit.predict2.reference import inputs, tiny_network

VIEWS, FRAMES, TOKENS = 3, 4, 2


def test_it_is_attention_with_a_mask() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, VIEWS * FRAMES * TOKENS, 5, 8, requires_grad=True) for _ in range(3))
    view = torch.arange(VIEWS).repeat_interleave(FRAMES * TOKENS)
    frame = torch.arange(FRAMES).repeat_interleave(TOKENS).repeat(VIEWS)
    mask = (view[:, None] == view) | (frame[:, None] == frame)
    assert mask.sum(1).tolist() == [(FRAMES + VIEWS - 1) * TOKENS] * len(view)
    parts = [part.transpose(1, 2) for part in (q, k, v)]
    wanted = F.scaled_dot_product_attention(*parts, attn_mask=mask).transpose(1, 2)
    found = attend(q, k, v, SameViewOrFrame(VIEWS, FRAMES))
    torch.testing.assert_close(found, wanted)
    weights = torch.randn_like(found)
    for ours, theirs in zip(
        torch.autograd.grad((found * weights).sum(), (q, k, v)),
        torch.autograd.grad((wanted * weights).sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)
    assert torch.equal(attend(q, k, v), kernels.attention(q, k, v))


@torch.no_grad()
def test_tokens_of_another_view_and_instant_are_not_seen() -> None:
    """In one block, what happens in a view reaches other views in the same frame alone."""
    network = tiny_network("B", num_blocks=1, attention_scope="same_view_or_frame")
    given = inputs()
    before, other = network(**given), given["x"].clone()
    other[:, :, 1] += 1.0  # second frame of the first view
    changed = (network(**given | {"x": other}) != before).flatten(3).any(3)[0].any(0)
    assert changed.tolist() == [True, True, False, True, False, True]
    everywhere = tiny_network("B", num_blocks=1)
    changed = everywhere(**given | {"x": other}) != everywhere(**given)
    assert bool(changed.flatten(3).any(3)[0].any(0).all())
    with pytest.raises(UserError, match="attention_scope 'mine'; valid: all_views, same_view_or_frame"):
        build_dit("predict2_2b_multiview", attention_scope="mine")


@pytest.mark.parametrize(
    ("views", "height", "width", "most"), [(7, 88, 160, (28.8e15, 9.2e15)), (5, 60, 106, (3.44e15, 1.56e15))]
)
def test_what_a_training_step_costs(views: int, height: int, width: int, most: tuple[float, float]) -> None:
    """FLOPs of the 2 B network at 720p with seven views, and at 480p with five; ``most`` with own instants twice."""
    wide, per_frame = 2048, height * width // 4
    tokens = 8 * views * per_frame
    rest = 28 * wide**2 * tokens + 4 * 512 * wide * tokens + 4096 * wide * 512 * views
    with torch.device("meta"):
        shapes = {"x": torch.empty(1, 16, 8 * views, height, width), "timesteps": torch.empty(1, 8 * views)}
        shapes["text"] = torch.empty(1, 512 * views, 1024)
    for scope, seen, limit in (
        ("all_views", tokens, most[0]),
        ("same_view_or_frame", (8 + views - 1) * per_frame, most[1]),
    ):
        flops = 3 * 28 * (rest + 4 * wide * tokens * seen)
        network, _ = build_deferred(
            lambda scope=scope: build_dit("predict2_2b_multiview", num_blocks=1, attention_scope=scope), draw=False
        )
        assert 3 * 28 * forward_flops(network, shapes) == pytest.approx(flops, rel=0.01)
        assert flops < limit
