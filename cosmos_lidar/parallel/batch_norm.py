"""Synchronized batch norm: statistics over the samples of all data-parallel ranks, for dense and sparse tensors."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cosmos_lidar.models.sparse.norm import SparseBatchNorm
from cosmos_lidar.models.sparse.tensor import SparseTensor
from cosmos_lidar.parallel.exchange import sum_tensors


class SyncedBatchNorm(_BatchNorm):
    """Batch norm with the mean and variance of the samples of all ranks; parameters keep the names of the plain one.

    Every rank of the group has to call it the same number of times. Ranks may have different numbers of samples.

    Args:
        base: the batch norm that it replaces; parameters and buffers are shared, not copied.
        group: ranks.
    """

    def __init__(self, base: _BatchNorm, group: dist.ProcessGroup) -> None:
        super().__init__(base.num_features, base.eps, base.momentum, affine=False, track_running_stats=False)
        self.affine, self.track_running_stats = base.affine, base.track_running_stats
        for name, parameter in base._parameters.items():
            self.register_parameter(name, parameter)
        for name, buffer in base._buffers.items():
            self.register_buffer(name, buffer)
        self.group = group
        self.train(base.training)

    def _check_input_dim(self, input: Tensor) -> None:
        """Take any shape (N, C, …)."""

    def forward(self, x: Any) -> Any:
        """Normalize a tensor (N, C, …) or a sparse tensor."""
        if isinstance(x, SparseTensor):
            return x.with_feats(self._normalized(x.feats))
        return self._normalized(x)

    def _normalized(self, x: Tensor) -> Tensor:
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        dims, shape = [0, *range(2, x.ndim)], (1, -1, *(1,) * (x.ndim - 2))
        values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        count = values.new_tensor([values.numel() / max(values.shape[1], 1)])
        totals = sum_tensors(torch.cat([values.sum(dims), count]), self.group)
        number = totals[-1].detach().clamp(min=1)
        mean = totals[:-1] / number
        centered = values - mean.view(shape)
        variance = sum_tensors(centered.square().sum(dims), self.group) / number
        self._track(mean.detach(), variance.detach(), number)
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            return (centered * (scale * self.weight).view(shape) + self.bias.view(shape)).to(x.dtype)
        return (centered * scale.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, number: Tensor) -> None:
        if not self.track_running_stats or self.running_mean is None or self.running_var is None:
            return
        self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)  # type: ignore[arg-type]
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        unbiased = variance * number / (number - 1).clamp(min=1)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)


def synchronize_batch_norm(network: nn.Module, group: dist.ProcessGroup) -> nn.Module:
    """Replace every batch norm of a network by a synchronized one, in place; names of parameters stay. Returns it.

    Args:
        network: on its device, before it is wrapped.
        group: ranks that share statistics: the data-parallel ones.
    """
    kinds = (SparseBatchNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    for owner in list(network.modules()):
        for name, child in list(owner.named_children()):
            if isinstance(child, kinds):
                setattr(owner, name, SyncedBatchNorm(child, group))
    return network
