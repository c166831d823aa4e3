"""A rank of a synchronized batch norm; rank 0 prints outputs, gradients and states of all ranks as JSON."""

from __future__ import annotations

import json

import torch
import torch.distributed as dist

from cosmos_lidar.models.sparse import SparseTensor
from cosmos_lidar.models.sparse.blocks import ConvBlock, ResidualBlock
from cosmos_lidar.parallel.batch_norm import synchronize_batch_norm


def voxels(rank: int) -> SparseTensor:
    """Return one cloud per rank, of different sizes."""
    generator = torch.Generator().manual_seed(rank)
    coords = (torch.rand(1, 12 + 4 * rank, 12, 8, generator=generator) < 0.05).nonzero()
    return SparseTensor(coords, torch.randn(len(coords), 2, generator=generator))


def images(rank: int) -> torch.Tensor:
    return torch.randn(2 + rank, 3, 4, 5, generator=torch.Generator().manual_seed(rank))


def networks() -> tuple[torch.nn.Module, torch.nn.Module]:
    torch.manual_seed(0)
    sparse = torch.nn.Sequential(ResidualBlock(2, 5), ConvBlock(5, 4)).double()
    dense = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, bias=False), torch.nn.BatchNorm2d(4, momentum=None))
    return sparse, dense.double()


def answer(outputs: list[torch.Tensor], modules: tuple[torch.nn.Module, ...]) -> dict:
    """Return outputs, gradients of a sum of squares and running statistics as lists."""
    for out in outputs:
        out.pow(3).sum().backward()
    gradients = {n: p.grad for one in modules for n, p in one.named_parameters()}
    states = {n: b for one in modules for n, b in one.named_buffers()}
    return {"outputs": outputs, "gradients": gradients, "states": states}


def main() -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    sparse, dense = (synchronize_batch_norm(one, dist.group.WORLD) for one in networks())
    x = voxels(rank)
    found = answer([sparse(x.with_feats(x.feats.double())).feats, dense(images(rank).double())], (sparse, dense))
    for gradient in found["gradients"].values():
        dist.all_reduce(gradient)
    everything = [None, None]
    dist.all_gather_object(everything, found)
    if rank == 0:
        print(json.dumps(everything, default=lambda tensor: tensor.detach().tolist()))  # noqa: T201
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
