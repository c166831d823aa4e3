from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from cosmos_lidar.training.guards.nonfinite import dump_batches, first_bad_gradient, first_bad_output


class Divide(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 0.0


def test_the_first_module_with_a_bad_output_is_named() -> None:
    network = nn.Sequential(nn.Linear(2, 2), Divide(), nn.Linear(2, 2))
    x = torch.ones(1, 2)
    assert first_bad_output(network, lambda: network(x)) == "1 (Divide); what came in was finite"
    bad = x * float("nan")
    assert first_bad_output(network, lambda: network(bad)) == "0 (Linear); what came in was not finite either"
    good = nn.Sequential(nn.Linear(2, 2))
    assert first_bad_output(good, lambda: good(x)) == ""
    assert not any(module._forward_hooks for module in network.modules())


def test_the_gradient_that_backward_reached_first_is_named() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    x = torch.ones(1, 2)
    assert first_bad_gradient(network, lambda: network(x).sum().backward()) == ""
    with torch.no_grad():
        network[2].weight.fill_(1e30)
    x = torch.full((1, 2), 1e30)  # finite, and so is all that comes out; the gradient of the first weights is not

    def again() -> None:
        hidden = network[2](network[1](network[0](x) * 0))
        (hidden * 1e-8).sum().backward()

    assert first_bad_gradient(network, again) == ""
    network[1].weight.register_hook(lambda gradient: gradient * float("inf"))
    assert first_bad_gradient(network, again) == "1.weight"
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


@dataclass
class Batch:
    __key__: list[str]
    latents: Tensor
    times: tuple[int, ...]
    more: dict[int, object]


def test_a_batch_is_written_so_that_it_can_be_read_without_unpickling(tmp_path: Path) -> None:
    batch = Batch(["a"], torch.full((2, 3), float("nan")), (1, 2), {3: [None, Path("x")]})
    path = dump_batches(tmp_path, 17, 2, [batch], {"loss": float("nan"), "clips": ["c"]})
    assert path == tmp_path / "step_000000017" / "rank_00002.pt"
    content = torch.load(path, weights_only=True)
    assert (content["step"], content["rank"], content["clips"]) == (17, 2, ["c"])
    assert content["batch"]["key"] == ["a"]
    assert content["batch"]["latents"].isnan().all()
    assert content["batch"]["times"] == [1, 2]
    assert content["batch"]["more"] == {"3": [None, repr(Path("x"))]}


def test_accumulated_batches_are_written_together(tmp_path: Path) -> None:
    batches = [Batch(["a"], torch.zeros(1), (), {}), Batch(["b"], torch.ones(1), (), {})]
    content = torch.load(dump_batches(tmp_path, 3, 0, batches, {}), weights_only=True)
    assert [one["key"] for one in content["batches"]] == [["a"], ["b"]]
    assert "batch" not in content
