"""Networks beside those of Diffusers and spconv, with equal numbers of parameters and random weights."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cosmos_lidar.models.plan import count_parameters
from cosmos_lidar.models.sparse import SparseConv3d, SparseTensor
from cosmos_lidar.models.sparse.voxels import batch_voxels, rounded_voxels
from cosmos_lidar.models.tokenizer import build_tokenizer
from cosmos_lidar.models.wan_vae import build_vae
from cosmos_lidar.sensors import load_sensor
from cosmos_lidar.synth import synthesize_drive
from peer_pairs import Maker, Pair


def video_tokenizer(small: bool) -> Pair:
    """CV8x8x8: encode and decode a video, beside ``AutoencoderKLCosmos``."""
    theirs = importlib.import_module("diffusers").AutoencoderKLCosmos()
    return _autoencoders("CV8x8x8", build_tokenizer("CV8x8x8"), theirs, 9, small)


def wan_vae(small: bool) -> Pair:
    """Wan2.1 VAE: encode and decode a video, beside ``AutoencoderKLWan``."""
    theirs = importlib.import_module("diffusers").AutoencoderKLWan()
    return _autoencoders("Wan2.1 VAE", build_vae("wan2_1"), theirs, 5, small)


def _autoencoders(name: str, ours: Any, theirs: Any, frames: int, small: bool) -> Pair:
    """Encode and decode a video of some frames by both; refuses networks of different size."""
    ours, theirs = ours.eval(), theirs.eval()
    _same_size(ours, theirs)
    x = _video(1, 32, 32) if small else _video(frames, 96, 160)

    def run_ours() -> Tensor:
        with torch.inference_mode():
            codes = ours.encode(x)
            return ours.decode(codes[0] if isinstance(codes, tuple) else codes)

    def run_theirs() -> Tensor:
        with torch.inference_mode():
            return theirs.decode(theirs.encode(x).latent_dist.mode()).sample

    return Pair(f"{name}, fp32, {_size(x)}", "Diffusers", run_ours, run_theirs, flops=_flops(run_ours))


def sparse_convolution(small: bool) -> Pair:
    """A submanifold convolution of the voxels of a sweep with its kernel map, beside ``SubMConv3d``; forward only.

    On a CPU spconv has no backward pass.
    """
    spconv = importlib.import_module("spconv.pytorch")
    channels = 16 if small else 64
    voxels = _sweep_voxels(0.5 if small else 0.1)
    feats = torch.randn(len(voxels.coords), channels)
    layer = SparseConv3d(channels, channels, 3, layout="spconv")
    peer = spconv.SubMConv3d(channels, channels, 3, padding=1, bias=False)
    with torch.no_grad():
        peer.weight.copy_(layer.weight)
    low = voxels.coords[:, 1:].min(dim=0).values
    coords = torch.cat([voxels.coords[:, :1], (voxels.coords[:, 1:] - low).flip(1)], dim=1).int()
    shape = (coords[:, 1:].max(dim=0).values + 1).tolist()

    def run_ours() -> Tensor:
        with torch.inference_mode():
            return layer(SparseTensor(voxels.coords, feats)).feats

    def run_theirs() -> Tensor:
        with torch.inference_mode():
            return peer(spconv.SparseConvTensor(feats, coords, shape, 1)).features

    difference = float((run_ours() - run_theirs()).abs().max())
    if difference > 1e-3:
        raise SystemExit(f"sparse convolution: the two differ by {difference:g}")
    work = f"sparse 3 x 3 x 3 convolution and its map, {len(feats):,} voxels, {channels} channels"
    return Pair(work, "spconv", run_ours, run_theirs)


def _sweep_voxels(size_m: float) -> SparseTensor:
    sensor = load_sensor("nuscenes_hdl32e")
    points = torch.from_numpy(np.asarray(synthesize_drive(seed=0, sensor=sensor, frames=1).points(0), np.float32))
    return batch_voxels([rounded_voxels(points, torch.ones(len(points), 1), size_m)]).tensor


def _same_size(ours: nn.Module, theirs: nn.Module) -> None:
    found = count_parameters(ours), count_parameters(theirs)
    if found[0] != found[1]:
        raise SystemExit(f"the networks differ: {found[0]:,} and {found[1]:,} parameters")


def _video(frames: int, height: int, width: int) -> Tensor:
    return torch.rand(1, 3, frames, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _size(x: Tensor) -> str:
    return " x ".join(map(str, x.shape[2:]))


def _flops(run: object) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


MAKERS: dict[str, Maker] = {
    "video_tokenizer": video_tokenizer, "wan_vae": wan_vae, "sparse_convolution": sparse_convolution,
}  # fmt: skip
