"""Sparse 3-D convolution layers: submanifold, strided, inverse; weights in the layout of torchsparse or spconv."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.sparse.gather_gemm import sparse_conv
from cosmos_lidar.models.sparse.kernel_map import KernelMap, Step, Triple
from cosmos_lidar.models.sparse.tensor import SparseTensor

Layout = Literal["torchsparse", "spconv"]
Convolution = Callable[[Tensor, Tensor, KernelMap], Tensor]  # features, weight (K, Cin, Cout), pairs


class SparseConv3d(nn.Module):
    """A sparse convolution (cross-correlation), without bias by default.

    - Stride 1 (submanifold): outputs are at the sites of the inputs; sizes of the kernel are odd.
    - Strided: output o reads inputs o * stride - padding + (0 … kernel - 1), and is there if one of them is.
    - ``inverse``: back to the sites that the strided convolution of the same kernel and stride came from, under the
      same parts of the kernel.

    Layouts of the weights:

    - ``torchsparse`` (and MinkowskiEngine): ``kernel`` (K, Cin, Cout), or (Cin, Cout) of a kernel of 1. Of K parts x is
      fastest where K is odd, z is fastest where K is even.
    - ``spconv``: ``weight`` (Cout, kz, ky, kx, Cin).

    Args:
        in_channels: Cin.
        out_channels: Cout.
        kernel_size: one number, or one along each of x, y, z.
        stride: likewise.
        padding: likewise; of strided convolutions.
        inverse: see above.
        bias: add one.
        layout: of the weights.

    Raises:
        UserError: even sizes with stride 1, padding without a stride, an unknown layout.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Triple = 3,
        stride: int | Triple = 1,
        padding: int | Triple = 0,
        inverse: bool = False,
        bias: bool = False,
        layout: Layout = "torchsparse",
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.inverse, self.layout = in_channels, out_channels, inverse, layout
        self.step = Step(_triple(kernel_size), _triple(stride), _triple(padding))
        self.compute: Convolution = sparse_conv  # spconv_backend.use_backend chooses another one
        self.submanifold = self.step.stride == (1, 1, 1) and not inverse
        _check(self.step, self.submanifold, layout)
        x, y, z = self.step.kernel
        self.volume = x * y * z
        if layout == "spconv":
            self.weight = nn.Parameter(torch.empty(out_channels, z, y, x, in_channels))
        else:
            shape = (in_channels, out_channels) if self.volume == 1 else (self.volume, in_channels, out_channels)
            self.kernel = nn.Parameter(torch.empty(shape))
        self.register_parameter("bias", nn.Parameter(torch.empty(out_channels)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights from U(-s, s), s = 1 / sqrt(K C) with C = Cin, Cout of inverse convolutions."""
        bound = 1 / math.sqrt(self.volume * (self.out_channels if self.inverse else self.in_channels))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    @property
    def parts(self) -> Tensor:
        """(K, Cin, Cout) weights of the parts of the kernel, in the order of the layout."""
        if self.layout == "spconv":
            return self.weight.permute(1, 2, 3, 4, 0).reshape(self.volume, self.in_channels, self.out_channels)
        return self.kernel.view(self.volume, self.in_channels, self.out_channels)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Convolve.

        Raises:
            UserError: another number of channels; an inverse convolution at sites of another one.
        """
        if x.feats.shape[1] != self.in_channels:
            raise UserError(f"{x.feats.shape[1]} channels: expected {self.in_channels}")
        pairs = self.pairs(x)
        if pairs is None:
            return self._made(x, x.feats @ self.parts[0].to(x.feats.dtype), x.level)
        level = x.level if self.submanifold else x.level[:-1] if self.inverse else (*x.level, self.step)
        return self._made(x, self.compute(x.feats, self.parts, pairs), level)

    def pairs(self, x: SparseTensor) -> KernelMap | None:
        """Return the kernel map at the voxels of ``x``; None for a kernel of 1, which is a product of matrices.

        Raises:
            UserError: an inverse convolution at sites of another one.
        """
        x_fastest = self.layout == "spconv" or self.volume % 2 == 1
        if self.submanifold and self.volume == 1:
            return None
        if self.submanifold:
            return x.maps.submanifold(x.level, self.step.kernel, x_fastest)
        if self.inverse:
            return x.maps.inverse(x.level, self.step.kernel, self.step.stride, x_fastest)
        return x.maps.strided(x.level, self.step, x_fastest)

    def _made(self, x: SparseTensor, feats: Tensor, level: tuple[Step, ...]) -> SparseTensor:
        return x.with_feats(feats if self.bias is None else feats + self.bias, level)

    def extra_repr(self) -> str:
        """Return sizes for the text of a network."""
        kind = "submanifold" if self.submanifold else "inverse" if self.inverse else "strided"
        return f"{self.in_channels}, {self.out_channels}, {kind}, {self.step}, layout={self.layout}"


def _check(step: Step, submanifold: bool, layout: str) -> None:
    if layout not in get_args(Layout):
        raise UserError(f"layout {layout!r}; valid: {', '.join(get_args(Layout))}")
    if min(*step.kernel, *step.stride) < 1 or min(step.padding) < 0:
        raise UserError(f"{step}: expected positive kernels and strides")
    if submanifold and any(size % 2 == 0 for size in step.kernel):
        raise UserError(f"kernel {step.kernel} with stride 1: expected odd sizes")
    if submanifold and any(step.padding):
        raise UserError(f"padding {step.padding} with stride 1: outputs are at the sites of the inputs, expected 0")


def _triple(value: int | Triple) -> Triple:
    if isinstance(value, int):
        return value, value, value
    x, y, z = value
    return x, y, z
