from __future__ import annotations

import torch

from cosmos_lidar.parallel.clip import clip_gradients


def test_clipping_of_plain_tensors_is_that_of_torch() -> None:
    torch.manual_seed(0)
    ours, theirs = ([torch.randn(5, 3).requires_grad_(), torch.randn(7).requires_grad_()] for _ in range(2))
    for a, b in zip(ours, theirs, strict=True):
        a.grad = torch.randn_like(a)
        b.grad = a.grad.clone()
    assert torch.allclose(clip_gradients(ours, 0.5), torch.nn.utils.clip_grad_norm_(theirs, 0.5))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a.grad, b.grad)
