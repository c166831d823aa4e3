"""The training step of every network is one graph for ``torch.compile``, without breaks, and gives the same gradients.

The compiler's front end (``aot_eager``) finds breaks without a C++ compiler or a GPU.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from cosmos_lidar.diffusion.conditional_flow import Condition, ConditionalFlow, first_frames
from cosmos_lidar.families.lidargen.canvas import CanvasLayout
from cosmos_lidar.families.lidargen.denoiser import LidarGenDenoiser
from cosmos_lidar.losses.adversarial import PatchDiscriminator
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.sparse import SparseConv3d, SparseTensor
from cosmos_lidar.models.sparse.blocks import ResidualBlock
from cosmos_lidar.models.tokenizer import build_tokenizer
from cosmos_lidar.models.wan_vae import build_vae
from cosmos_lidar.models.wan_vae.memory import StreamMemory

Step = tuple[nn.Module, Callable[[], Tensor]]


def tokenizer(name: str, *size: int, **options: object) -> Step:
    network, x = build_tokenizer(name, channels=32, **options), torch.rand(1, 3, *size) * 2 - 1
    return network, lambda: (network(x)["reconstructions"] - x).abs().mean()


def transformer() -> Step:
    network = build_dit("faditv2_debug")
    config = network.config
    x, time = torch.randn(1, config.in_channels, 2 * config.n_views, 4, 6), torch.zeros(1)
    text = torch.randn(1, 3 * config.n_views, config.crossattn_emb_channels)
    return network, lambda: network(x, time, text, fps=10.0).square().mean()


def multiview(scope: str) -> Step:
    network = build_dit("predict2_debug_multiview", state_t=2, attention_scope=scope)
    clean, noise = torch.randn(2, 1, 16, 4, 4, 6)
    views = torch.tensor([[0, 0, 1, 1]])
    given = Condition(clean, first_frames([1], 2, 2), {"text": torch.randn(1, 16, 64), "fps": [10.0],
                                                       "view_indices": views})  # fmt: skip
    flow = ConditionalFlow(network)
    return network, lambda: flow.velocity_loss(clean, noise, torch.ones(1), given).mean()


def camera_to_lidar(dense: bool) -> Step:
    layout, network = CanvasLayout((8, 16), (8, 8), 1), build_dit("faditv2_debug", n_views=2, n_views_emb=4)
    denoiser, one = LidarGenDenoiser(network, layout, dense=dense), torch.ones(1)
    canvas, noise = torch.randn(2, 1, 16, 2, *layout.size)
    return network, lambda: (denoiser(canvas + noise, one, canvas, 0.1 * one, noise) - canvas).square().mean()


def discriminator() -> Step:
    network, x = PatchDiscriminator(16), torch.rand(1, 3, 5, 32, 32)
    return network, lambda: network(x).mean()


def vae() -> Step:
    """The encoder's network on one window, as the stream calls it."""
    network, x = build_vae("wan2_1", dim=8).encoder.requires_grad_(True), torch.rand(1, 3, 1, 16, 16)
    return network, lambda: network(x, StreamMemory(keep=False)).square().mean()


def sparse() -> Step:
    """A strided convolution and a residual block; their kernel maps are there, as of the second batch of a tensor."""
    coords = torch.cat([torch.zeros(60, 1, dtype=torch.int32), torch.randint(0, 6, (60, 3), dtype=torch.int32)], 1)
    coords = torch.unique(coords, dim=0)
    x = SparseTensor(coords, torch.randn(len(coords), 4))
    down, block = SparseConv3d(4, 8, 2, stride=2), ResidualBlock(8, 8)
    return nn.ModuleList([down, block]), lambda: block(down(x)).feats.square().mean()


STEPS: dict[str, Callable[[], Step]] = {
    "CI8x8 lidar": lambda: tokenizer("CI8x8", 32, 64, resolution=512),
    "DI8x8": lambda: tokenizer("DI8x8", 32, 32),
    "CV8x8x8": lambda: tokenizer("CV8x8x8", 9, 32, 32),
    "DV8x8x8": lambda: tokenizer("DV8x8x8", 9, 32, 32),
    "faditv2": transformer,
    "predict2, all views": lambda: multiview("all_views"),
    "predict2, same view or frame": lambda: multiview("same_view_or_frame"),
    "camera-to-lidar": lambda: camera_to_lidar(False),
    "camera-to-lidar, dense": lambda: camera_to_lidar(True),
    "discriminator": discriminator,
    "Wan2.1 VAE": vae,
    "sparse convolutions": sparse,
}


@pytest.mark.parametrize("name", STEPS)
def test_one_graph_and_the_same_gradients(name: str) -> None:
    torch.manual_seed(0)
    network, step = STEPS[name]()
    for parameter in network.parameters():
        if not parameter.detach().any():  # branches that start at zero hide the gradients of what is before them
            nn.init.normal_(parameter, std=0.02)
    step().backward()
    wanted = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    assert len(wanted) > 0.5 * len(list(network.parameters()))
    network.zero_grad()
    torch._dynamo.reset()
    torch.compile(step, fullgraph=True, backend="aot_eager")().backward()
    found = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert found.keys() == wanted.keys()
    for key, gradient in found.items():
        torch.testing.assert_close(
            gradient, wanted[key], rtol=1e-4, atol=1e-6, msg=lambda text, key=key: f"{key}: {text}"
        )


def test_a_break_is_found() -> None:
    """The check above can fail."""
    network = nn.Linear(2, 2)

    def step() -> Tensor:
        torch._dynamo.graph_break()
        return network(torch.ones(1, 2)).sum()

    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported, match="graph_break"):
        torch.compile(step, fullgraph=True, backend="aot_eager")()
