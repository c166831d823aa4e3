"""One rank: build a network of 250 M parameters, load its weights, and print how much memory that took at most.

``torchrun … memory_worker.py scratch|file|save|resume PATH`` prints, from each rank, one JSON line with ``base`` (peak
resident bytes before), ``peak`` (after), ``shard`` (of the weights), ``largest`` (tensor) and ``sums`` of some tensors.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch._dynamo  # FSDP imports it with the first module: libraries do not count below
import torch.distributed as dist
import torch.distributed.fsdp
from torch import nn
from torch.distributed.tensor import DTensor

from cosmos_lidar.models.deferred import build_deferred
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.weights import open_dit_weights
from cosmos_lidar.parallel.apply import parallelize
from cosmos_lidar.parallel.clip import local_part
from cosmos_lidar.parallel.materialize import fill, materialize
from cosmos_lidar.parallel.mesh import make_mesh, mesh_sizes
from cosmos_lidar.training.checkpoint.reading import load_tensors, stored_names
from cosmos_lidar.training.checkpoint.store import CheckpointStore

SHAPE = {"model_channels": 1024, "num_heads": 8, "num_blocks": 14, "adaln_lora_dim": 64}
LOOKED_AT = ("blocks.block3.blocks.2.block.layer1.weight", "final_layer.linear.weight")


def build() -> nn.Module:
    torch.manual_seed(0)
    return build_dit("faditv2_2b", **SHAPE)


def peak_bytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def load(what: str, path: Path) -> nn.Module:
    """Build and load as training does."""
    network, sources = build_deferred(build, draw=what != "file")
    if what == "file":
        sources = [open_dit_weights(network, path)]
    mesh = make_mesh(mesh_sizes(0, dist.get_world_size(), 1, 1, dist.get_world_size()), "cpu")
    parallelize(network, network.parallel_plan(), mesh)
    materialize(network, "cpu")
    fill(network, sources, stored_names(path, "model.") if what == "resume" else ())
    if what == "resume":
        load_tensors(path, {f"model.{name}": value for name, value in network.state_dict().items()})
    return network


def main() -> None:
    what, path = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    dist.barrier()
    base = peak_bytes()
    network = load(what, path)
    found = {"base": base, "peak": peak_bytes()}
    found["shard"] = sum(local_part(tensor).nbytes for tensor in network.state_dict().values())
    found["largest"] = max(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    if what == "save":
        store = CheckpointStore(path)
        store.save(1, {f"model.{name}": value for name, value in network.state_dict().items()}, {}, {}, {})
        assert store.wait().error is None
    sums = [network.get_parameter(name).detach() for name in LOOKED_AT]
    found["sums"] = [float((s.full_tensor() if isinstance(s, DTensor) else s).double().sum()) for s in sums]
    sys.stdout.write("RESULT " + json.dumps(found) + "\n")
    sys.stdout.flush()
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
