"""One of several ranks: networks of the meta device, parallelized and filled, compared bit by bit with whole ones.

``torchrun … materialize_worker.py '{"name": {"tensor": 2, …}, …}'`` fails where a number differs.
"""

from __future__ import annotations

import json
import sys

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from cosmos_lidar.models.deferred import build_deferred
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.lora import add_lora
from cosmos_lidar.models.tokenizer import build_tokenizer
from cosmos_lidar.parallel.apply import parallelize
from cosmos_lidar.parallel.materialize import fill, materialize
from cosmos_lidar.parallel.mesh import make_mesh, mesh_sizes


def transformer() -> nn.Module:
    return build_dit("faditv2_debug", n_views=2)


def adapted() -> nn.Module:
    return add_lora(transformer(), 3, 6.0, ["to_q.0", "to_out.0", "layer1", "layer2"])


def tokenizer() -> nn.Module:
    return build_tokenizer("DI8x8", channels=32, channels_mult=[1, 2], num_res_blocks=1)


BUILDERS = {"transformer": transformer, "adapted": adapted, "tokenizer": tokenizer}


def run(network: nn.Module, kind: str) -> Tensor:
    """Return an output of the network, the same input each time."""
    generator = torch.Generator().manual_seed(5)
    if kind == "tokenizer":
        return network.encode(torch.randn(1, 3, 16, 32, generator=generator))[1]
    return network(torch.randn(1, 16, 4, 8, 8, generator=generator), torch.ones(1))


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    for name, options in json.loads(sys.argv[1]).items():
        kind = options.pop("kind", "transformer")
        precision = options.pop("precision", "fp32")
        sizes = mesh_sizes(*(options.get(size, 1) for size in ("data_replicate", "data_shard", "context", "tensor")),
                           dist.get_world_size())  # fmt: skip
        mesh = make_mesh(sizes, "cpu")
        torch.manual_seed(1)
        whole = BUILDERS[kind]()
        torch.manual_seed(1)
        network, sources = build_deferred(BUILDERS[kind])
        parallelize(network, network.parallel_plan(), mesh, precision=precision)
        assert all(parameter.is_meta for parameter in network.parameters()), name
        materialize(network, "cpu")
        fill(network, sources)
        state = network.state_dict()
        assert state.keys() == whole.state_dict().keys(), name
        for key, wanted in whole.state_dict().items():
            assert torch.equal(_full(state[key]), wanted), f"{name}: {key}"
        for key, buffer in whole.named_buffers():
            assert torch.equal(_full(network.get_buffer(key)), buffer), f"{name}: {key}"
        parallelize(whole, whole.parallel_plan(), mesh, precision=precision)
        if kind != "tokenizer" or sizes.context == 1:
            with torch.no_grad():
                assert torch.equal(run(network, kind), run(whole, kind)), name
    dist.barrier()
    dist.destroy_process_group()


def _full(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


if __name__ == "__main__":
    main()
