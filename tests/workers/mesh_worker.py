"""One of several processes: a small diffusion transformer on a mesh, compared with the same on one process.

``torchrun --standalone --nproc_per_node=N mesh_worker.py '{"name": {"tensor": 2, …}, …}'`` prints, from rank 0, one
JSON line {name: {quantity: largest relative difference}}.
"""

from __future__ import annotations

import copy
import json
import os
import sys

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from cosmos_lidar.models.dit import Predict2DiT, build_dit
from cosmos_lidar.models.dit.lora import add_lora
from cosmos_lidar.models.dit.rays import RAY_CHANNELS
from cosmos_lidar.parallel.apply import parallelize
from cosmos_lidar.parallel.clip import clip_gradients
from cosmos_lidar.parallel.mesh import check_plan, make_mesh, mesh_sizes

BATCH, VIEWS, TEXT = 4, 2, 6
KEPT = torch.arange(64)[torch.arange(64) % 16 < 12]  # of tokens, without text: the last quarter of each frame is empty
FLOW = {"model_channels": 64, "num_heads": 4, "num_blocks": 2, "adaln_lora_dim": 8, "crossattn_emb_channels": 24}
TARGETS = {
    "GeneralDiT": ["to_q.0", "to_k.0", "to_v.0", "to_out.0", "layer1", "layer2"],
    "Predict2DiT": ["q_proj", "k_proj", "v_proj", "output_proj", "mlp.layer1", "mlp.layer2"],
}
SIZES = ("data_replicate", "data_shard", "context", "tensor")


def make_network(along_rays: bool = False, flow_frames: int = 0, scope: str = "all_views") -> nn.Module:
    """With ``flow_frames`` a network of Predict2 whose views have that many frames, with a time of its own each."""
    torch.manual_seed(0)
    if flow_frames:
        own = {"state_t": flow_frames, "attention_scope": scope, "in_channels": 4, "out_channels": 4}
        return _stirred(build_dit("predict2_2b_multiview", **FLOW | own))
    own = {"ray_channels": RAY_CHANNELS, "cross_attention": False, "view_condition_dim": 0} if along_rays else {}
    shape = {"model_channels": 64, "num_heads": 4, "num_blocks": 2, "adaln_lora_dim": 8, "crossattn_emb_channels": 24}
    network = build_dit("faditv2_debug", in_channels=4, out_channels=4, n_views=VIEWS, n_views_emb=VIEWS, **shape | own)
    return _stirred(network)


def _stirred(network: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in network.parameters():  # the branches that start at zero hide errors
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def add_updates(network: nn.Module) -> nn.Module:
    """Freeze the network and train low-rank updates instead."""
    targets = TARGETS["Predict2DiT" if isinstance(network, Predict2DiT) else "GeneralDiT"]
    add_lora(network, 3, 6.0, targets)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.05 * torch.randn(parameter.shape))
    return network


def make_batch(along_rays: bool = False, flow_frames: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(1)
    if flow_frames:
        frames = VIEWS * flow_frames
        x, times = torch.randn(BATCH, 4, frames, 8, 8), torch.rand(BATCH, frames)
        own = {"text": torch.randn(BATCH, VIEWS * TEXT, 24), "condition_mask": (x[:, :1] > 0).float()}
        return {"x": x, "timesteps": times, "fps": torch.full([BATCH], 10.0), "target": torch.randn_like(x), **own}
    x = torch.randn(BATCH, 4, VIEWS * 2, 8, 8)
    if along_rays:
        rays = torch.randn(BATCH, VIEWS * 2, 4, 4, 6)
        return {"x": x, "timesteps": torch.randn(BATCH), "rays": rays, "target": torch.randn_like(x)}
    text = torch.randn(BATCH, VIEWS * TEXT, 24)
    return {"x": x, "timesteps": torch.randn(BATCH), "text": text, "target": torch.randn_like(x)}


def train(network: nn.Module, batch: dict[str, Tensor], steps: int) -> dict[str, object]:
    """Loss, gradients and norm of the first step, and the weights after all."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, eps=1e-2)
    found: dict[str, object] = {}
    for step in range(steps):
        inputs = {name: value for name, value in batch.items() if name != "target"}
        out = network(**inputs | ({"kept": KEPT} if "rays" in batch else {}))
        loss = (out - batch["target"]).square().mean()
        loss.backward()
        norm = clip_gradients(network.parameters(), 0.05)
        if step == 0:
            trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
            gradients = {name: _whole(parameter.grad) for name, parameter in trained.items()}
            found = {"loss": loss.detach(), "norm": norm, "gradients": gradients}
        optimizer.step()
        optimizer.zero_grad()
    found["weights"] = {name: _whole(parameter) for name, parameter in network.named_parameters()}
    return found


def compare(found: dict[str, object], wanted: dict[str, object] | None) -> dict[str, float]:
    loss = found["loss"].clone()
    dist.all_reduce(loss)
    if wanted is None:
        return {}
    result = {"loss": _difference(loss / dist.get_world_size(), wanted["loss"])}
    result["norm"] = _difference(found["norm"], wanted["norm"])
    for kind in ("gradients", "weights"):
        result[kind] = max(_difference(found[kind][name], wanted[kind][name]) for name in wanted[kind])
    return result


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    world, rank = dist.get_world_size(), dist.get_rank()
    known = {}
    results = {}
    for name, options in json.loads(sys.argv[1]).items():
        batch_kind = options.pop("rays", False), options.pop("flow_frames", 0)
        scope, lora = options.pop("scope", "all_views"), options.pop("lora", False)
        kind = *batch_kind, scope, lora
        if kind not in known:
            reference, batch = make_network(*batch_kind, scope), make_batch(*batch_kind)
            reference = add_updates(reference) if lora else reference
            wanted = train(copy.deepcopy(reference), batch, steps=2) if rank == 0 else None  # only the first compares
            known[kind] = reference, batch, wanted
        reference, batch, wanted = known[kind]
        asked = [options.pop(size, 1) for size in SIZES]
        sizes = mesh_sizes(*asked, world)
        network = copy.deepcopy(reference)
        plan = network.parallel_plan()
        check_plan(sizes, plan, options.get("attention", "ulysses"))
        parallelize(network, plan, make_mesh(sizes, "cpu"), **options)
        share = BATCH // sizes.data
        start = sizes.data_rank(rank) * share
        mine = {key: value[start : start + share] for key, value in batch.items()}
        results[name] = compare(train(network, mine, steps=2), wanted)
    if rank == 0:
        sys.stdout.write(json.dumps(results) + "\n")
    dist.barrier()
    dist.destroy_process_group()


def _whole(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).clone()


def _difference(found: Tensor, wanted: Tensor) -> float:
    """Largest difference, relative to the largest value wanted."""
    return float((found - wanted).abs().max() / wanted.abs().max())


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
