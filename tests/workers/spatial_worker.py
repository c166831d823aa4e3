"""One of several processes: small tokenizers on slices of the width, compared with the whole on one process.

``torchrun --standalone --nproc_per_node=N spatial_worker.py`` prints, from rank 0, one JSON line
{name: {quantity: largest relative difference}}.
"""

from __future__ import annotations

import copy
import json
import sys

import torch
import torch.distributed as dist
from torch import Tensor, nn

from cosmos_lidar.models.tokenizer import build_tokenizer
from cosmos_lidar.models.wan_vae import build_vae
from cosmos_lidar.models.wan_vae.memory import StreamMemory
from cosmos_lidar.parallel.spatial import join_slices, split_width, take_slice

IMAGE = {"channels": 32, "channels_mult": [1, 2], "num_res_blocks": 1, "resolution": 64}
VIDEO = {"channels": 16, "channels_mult": [1, 2, 2], "num_res_blocks": 1}
CASES = {
    "CI8x8": (IMAGE, (2, 3, 16, 64), torch.float32),
    "CI8x8 float64": (IMAGE, (2, 3, 16, 64), torch.float64),
    "DI8x8": (IMAGE, (2, 3, 16, 64), torch.float32),
    "CV8x8x8": (VIDEO, (1, 3, 9, 16, 64), torch.float32),
    "CV8x8x8 float64": (VIDEO, (1, 3, 9, 16, 64), torch.float64),
    "DV8x16x16": (VIDEO, (1, 3, 9, 16, 128), torch.float64),
    "wan2_1 float64": ({}, (1, 3, 9, 16, 64), torch.float64),
}


class WholeVideoVAE(nn.Module):
    """The Wan2.1 VAE on whole videos, with gradients, with attention that is not zero."""

    def __init__(self) -> None:
        super().__init__()
        self.vae = build_vae("wan2_1", dim=4)
        for half in (self.vae.encoder, self.vae.decoder):
            nn.init.normal_(half.middle[1].proj.weight)

    def encode(self, x: Tensor) -> Tensor:
        return self.vae.moments(x, StreamMemory(keep=False)).chunk(2, dim=1)[0]

    def decode(self, z: Tensor) -> Tensor:
        return self.vae.images(z, StreamMemory(keep=False))


def build(name: str, shape: dict) -> nn.Module:
    return WholeVideoVAE() if name == "wan2_1" else build_tokenizer(name, **shape)


def run(network: nn.Module, x: Tensor, share: object, joined: object) -> dict[str, Tensor]:
    """Latents, reconstruction and gradients of a loss of the whole reconstruction."""
    x = x.clone().requires_grad_(True)
    encoded = network.encode(share(x))
    latent = encoded[1] if isinstance(encoded, tuple) else encoded
    out = joined(network.decode(latent))
    loss = (out - x.detach().flip(-1)).abs().mean() + 0.1 * joined(latent).square().mean()
    loss.backward()
    found = {"latent": joined(latent).detach(), "reconstruction": out.detach(), "input gradient": x.grad}
    for name, parameter in network.named_parameters():
        found[name] = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    return found


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    group, ranks = dist.group.WORLD, dist.get_world_size()
    results = {}
    for case, (shape, size, dtype) in CASES.items():
        torch.manual_seed(0)
        network = build(case.split()[0], shape).to(dtype)
        x = torch.randn(size, dtype=dtype)
        split = copy.deepcopy(network)
        split_width(split, group)
        found = run(split, x, lambda t: take_slice(t, group), lambda t: join_slices(t, group))
        names = sorted(set(found) - {"latent", "reconstruction"})
        together = torch.cat([found[name].flatten() for name in names])
        dist.all_reduce(together)  # the mean over processes is the gradient of one
        for name, mean in zip(names, (together / ranks).split([found[name].numel() for name in names]), strict=True):
            found[name] = mean.view_as(found[name])
        if dist.get_rank():
            continue  # only the first compares: the others need not compute the whole
        wanted = run(copy.deepcopy(network), x, lambda whole: whole, lambda whole: whole)
        gradients = sorted(set(wanted) - {"latent", "reconstruction"})
        largest = max(float(wanted[name].abs().max()) for name in gradients)
        results[case] = {
            "latent": _difference(found["latent"], wanted["latent"]),
            "reconstruction": _difference(found["reconstruction"], wanted["reconstruction"]),
            "gradients": max(float((found[name] - wanted[name]).abs().max()) for name in gradients) / largest,
        }
    if dist.get_rank() == 0:
        sys.stdout.write(json.dumps(results) + "\n")
    dist.barrier()
    dist.destroy_process_group()


def _difference(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max())


if __name__ == "__main__":
    main()
