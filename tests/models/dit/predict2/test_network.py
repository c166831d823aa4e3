"""The Predict2 diffusion transformer against numbers of the published network, with two fills of its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.deferred import build_deferred
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.rays import RAY_CHANNELS
from cosmos_lidar.models.dit.weights import load_dit_weights
from cosmos_lidar.training.measure.flops import forward_flops
from tests.models.dit.predict2.reference import SHAPE, TINY, inputs, tiny_network, vectors


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return tiny_network("B")


@torch.no_grad()
def test_every_stage_is_the_published_one(network: torch.nn.Module) -> None:
    known, found = vectors(), {}
    stages = {
        "x_embed": "x_embedder.proj.1", "adaln_lora": "t_embedder", "t_norm": "t_embedding_norm", "block0": "blocks.0",
        "b0_selfattn": "blocks.0.self_attn", "b0_crossattn": "blocks.0.cross_attn", "block1": "blocks.1",
    }  # fmt: skip
    handles = [
        network.get_submodule(path).register_forward_hook(lambda m, i, out, name=name: found.update({name: out}))
        for name, path in stages.items()
    ]
    y = network(**inputs())
    for handle in handles:
        handle.remove()
    torch.testing.assert_close(y, known["B_y"], atol=1e-4, rtol=0)
    for name, value in found.items():
        wanted = known[f"B_{name}"].flatten()
        torch.testing.assert_close(value.flatten()[: len(wanted)], wanted, atol=1e-4, rtol=1e-5, msg=name)


@torch.no_grad()
def test_smooth_weights() -> None:
    known, network = vectors(), tiny_network("A")
    torch.testing.assert_close(network(**inputs("A")), known["A_y"], atol=1e-7, rtol=0)
    torch.testing.assert_close(network(**inputs("A") | {"fps": 30.0}), known["A_y_fps30"], atol=1e-7, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize(
    ("change", "mean", "std", "first"),
    [
        ({"view_indices": None}, 0.32317626, 5.0005721, [1.428916, 8.923698, 1.799706]),
        ({"fps": [30.0]}, 0.52508967, 4.6834823, [4.045322, 9.674941, 5.374527]),
        ({"timesteps": torch.tensor([[0.7]])}, 0.52130295, 4.612732, [4.222032, 9.883101, 3.427907]),
        ({"timesteps": torch.tensor([0.7])}, 0.52130295, 4.612732, [4.222032, 9.883101, 3.427907]),
    ],
)
def test_inputs_that_may_be_left_out_or_differ(
    network: torch.nn.Module, change: dict, mean: float, std: float, first: list[float]
) -> None:
    y = network(**inputs() | change)
    assert float(y.mean()) == pytest.approx(mean, abs=1e-5)
    assert float(y.std(correction=0)) == pytest.approx(std, abs=1e-5)
    assert y.flatten()[:3].tolist() == pytest.approx(first, abs=1e-4)


@torch.no_grad()
def test_no_text_is_zero_text(network: torch.nn.Module) -> None:
    given = inputs()
    zero = network(**given | {"text": torch.zeros_like(given["text"])})
    assert torch.equal(zero, network(**given | {"text": None}))


@torch.no_grad()
def test_each_sample_has_its_own_frame_rate(network: torch.nn.Module) -> None:
    given = inputs()
    both = {name: torch.cat([value, value]) for name, value in given.items()} | {"fps": torch.tensor([10.0, 30.0])}
    y, known = network(**both), vectors()
    torch.testing.assert_close(y, torch.cat([known["B_y"], known["B_y_fps30"]]), atol=1e-4, rtol=0)
    published = tiny_network("B", compat=True)(**both)  # the first one's for all
    torch.testing.assert_close(published[1], published[0], atol=1e-5, rtol=0)


@torch.no_grad()
def test_text_of_another_encoder_is_projected() -> None:
    network = build_dit("predict2_2b_multiview", **TINY, crossattn_emb_channels=8, crossattn_proj_in_channels=5)
    with torch.no_grad():
        for block in network.blocks:
            torch.nn.init.normal_(block.adaln_modulation_cross_attn[2].weight)
    assert {"crossattn_proj.0.weight", "crossattn_proj.0.bias"} <= network.state_dict().keys()
    x, times = torch.randn(1, 16, 2, 4, 4), torch.tensor([0.5])
    text = torch.randn(1, 7, 5)
    plain = network(x, times, text)
    project, network.crossattn_proj = network.crossattn_proj, torch.nn.Identity()
    assert torch.equal(network(x, times, torch.nn.functional.gelu(project[0](text))), plain)
    assert not torch.equal(network(x, times), plain)


def test_published_names_and_sizes() -> None:
    with torch.device("meta"):
        network = build_dit("predict2_2b_multiview")
    state = network.state_dict()
    assert len(state) == 568
    assert state["x_embedder.proj.1.weight"].shape == (2048, 100)
    assert state["t_embedder.1.linear_2.weight"].shape == (6144, 2048)
    assert state["t_embedding_norm.weight"].shape == (2048,)
    assert state["view_embeddings.weight"].shape == (7, 7)
    assert state["blocks.27.cross_attn.k_proj.weight"].shape == (2048, 1024)
    assert state["blocks.0.self_attn.q_norm.weight"].shape == (128,)
    assert state["blocks.3.mlp.layer1.weight"].shape == (8192, 2048)
    assert state["blocks.3.adaln_modulation_mlp.2.weight"].shape == (6144, 256)
    assert state["final_layer.adaln_modulation.2.weight"].shape == (4096, 256)
    assert state["final_layer.linear.weight"].shape == (64, 2048)


def test_flops_are_those_of_the_formula() -> None:
    """480 x 848, five views: N (28 D^2 L + 4 D L^2 + 4 * 512 D L + 4096 D 512 V), and embeddings beside."""
    network, _ = build_deferred(lambda: build_dit("predict2_2b_multiview", num_blocks=2), draw=False)
    views, width, tokens = 5, 2048, 5 * 8 * 30 * 53
    with torch.device("meta"):
        shapes = {"x": torch.empty(1, 16, 40, 60, 106), "timesteps": torch.empty(1, 40)}
        shapes["text"] = torch.empty(1, views * 512, 1024)
    block = 28 * width**2 * tokens + 4 * width * tokens**2 + 4 * 512 * width * tokens + 4096 * width * 512 * views
    assert forward_flops(network, shapes) == pytest.approx(2 * block, rel=2e-3)
    assert 28 * block == pytest.approx(1.145e15, rel=1e-3)


def test_initial_weights() -> None:
    torch.manual_seed(0)
    network = build_dit("predict2_2b_multiview", **TINY)
    for name, parameter in network.named_parameters():
        if "adaln_modulation" in name and name.endswith(".2.weight"):
            assert not parameter.any(), name
        elif name.endswith("norm.weight"):
            assert bool((parameter == 1).all()), name
        elif name != "view_embeddings.weight":
            std = parameter.shape[1] ** -0.5
            assert float(parameter.detach().abs().max()) <= 3 * std + 1e-6, name
            assert float(parameter.detach().std()) == pytest.approx(0.9866 * std, rel=0.15), name


def some_rays(views: int = 3, seed: int = 0) -> torch.Tensor:
    """Random rays of the tokens of the tiny network, the same for both frames of a view."""
    rays = torch.randn(1, views, 4, 6, 6, generator=torch.Generator().manual_seed(seed))
    return rays.repeat_interleave(2, dim=1)


def test_rays_start_as_the_published_network_and_are_learned(tmp_path: Path) -> None:
    """Weights of the published network load; the output is that of the network without rays, bit for bit."""
    plain = tiny_network("B")
    torch.save({f"net.{name}": value for name, value in plain.state_dict().items()}, tmp_path / "model.pt")
    network = build_dit("predict2_2b_multiview", **TINY, ray_channels=RAY_CHANNELS)
    load_dit_weights(network, tmp_path / "model.pt")
    y = network(**inputs(), rays=some_rays())
    assert torch.equal(y, plain(**inputs()))
    y.square().mean().backward()
    assert bool((network.ray_embedder.weight.grad != 0).all())
    with torch.no_grad():
        torch.nn.init.normal_(network.ray_embedder.weight, std=0.1)
        one, other = (network(**inputs(), rays=some_rays(seed=seed)) for seed in (1, 2))
    assert float((one - other).abs().mean()) > 0.1


@torch.no_grad()
def test_rays_tell_any_number_of_cameras_apart() -> None:
    """Eleven cameras: those beyond the view table differ by their rays alone."""
    torch.manual_seed(0)
    network = build_dit("predict2_2b_multiview", **TINY, ray_channels=RAY_CHANNELS)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x, times = torch.randn(1, 16, 2, 8, 12).repeat(1, 1, 11, 1, 1), torch.tensor([0.5])
    ids, same = torch.arange(11).repeat_interleave(2)[None], some_rays(1).repeat(1, 11, 1, 1, 1)
    y = network(x, times, view_indices=ids, rays=same).unflatten(2, (11, 2))
    assert torch.allclose(y[:, :, 7], y[:, :, 10], atol=1e-5)  # no row of the table
    assert not torch.allclose(y[:, :, 5], y[:, :, 7], atol=1e-2)
    z = network(x, times, view_indices=ids, rays=some_rays(11)).unflatten(2, (11, 2))
    assert not torch.allclose(z[:, :, 7], z[:, :, 10], atol=1e-2)


def test_rays_missing_unwanted_or_of_another_shape(network: torch.nn.Module) -> None:
    x, times = torch.zeros(1, 16, 6, 8, 12), torch.zeros(1)
    with pytest.raises(UserError, match="this network takes no rays"):
        network(x, times, rays=some_rays())
    wanting = build_dit("predict2_2b_multiview", **TINY, ray_channels=RAY_CHANNELS)
    with pytest.raises(UserError, match="rays are required"):
        wanting(x, times)
    with pytest.raises(UserError, match=r"rays of shape \(4, 4, 6, 6\): expected \(6, 4, 6, 6\)"):
        wanting(x, times, rays=some_rays(2))


def test_control_videos_start_as_the_published_network_and_are_learned(tmp_path: Path) -> None:
    """A fresh branch leaves the output as it is, bit for bit, and has a gradient; zeros are no control videos."""
    plain = tiny_network("B")
    torch.save(plain.state_dict(), tmp_path / "model.pt")
    network = build_dit("predict2_2b_multiview", **TINY, control_channels=32)
    load_dit_weights(network, tmp_path / "model.pt")
    control = torch.randn(1, 32, *SHAPE[2:], generator=torch.Generator().manual_seed(0))
    y = network(**inputs(), control=control)
    assert torch.equal(y, plain(**inputs()))
    y.square().mean().backward()
    assert bool((network.control_embedder.weight.grad != 0).all())
    with torch.no_grad():
        torch.nn.init.normal_(network.control_embedder.weight, std=0.1)
        assert torch.equal(network(**inputs()), y)
        torch.testing.assert_close(network(**inputs(), control=torch.zeros_like(control)), y)
        early = control.clone()
        early[:, :, 1:] = 0  # the first frame of the first view: the whole clip is another one
        assert float((network(**inputs(), control=early) - y).abs().mean()) > 0.01
    with pytest.raises(UserError, match=r"control videos of shape \(16, 6, 8, 12\): expected \(32, 6, 8, 12\)"):
        network(**inputs(), control=control[:, :16])
    with pytest.raises(UserError, match=r"expected \(0, 6, 8, 12\)"):
        plain(**inputs(), control=control)


def test_copied_blocks_start_as_the_published_network_and_are_learned(tmp_path: Path) -> None:
    """Copies of the first blocks begin with the weights of the file; what they add starts at zero."""
    plain = tiny_network("B")
    torch.save(plain.state_dict(), tmp_path / "model.pt")
    network = build_dit("predict2_2b_multiview", **TINY, control_channels=16, control_blocks=1)
    load_dit_weights(network, tmp_path / "model.pt")
    copied, original = network.control_blocks[0].state_dict(), plain.blocks[0].state_dict()
    assert all(torch.equal(copied[name], original[name]) for name in original)
    assert network.control_blocks[0].mlp.layer1.weight is not network.blocks[0].mlp.layer1.weight
    control = torch.randn(1, 16, *SHAPE[2:], generator=torch.Generator().manual_seed(0))
    y = network(**inputs(), control=control)
    assert torch.equal(y, plain(**inputs()))
    y.square().mean().backward()
    assert bool((network.control_outputs[0].weight.grad != 0).any())
    with torch.no_grad():
        torch.nn.init.normal_(network.control_outputs[0].weight, std=0.1)
        assert torch.equal(network(**inputs()), y)
        torch.testing.assert_close(network(**inputs(), control=torch.zeros_like(control)), y)  # zeros are no videos
        assert float((network(**inputs(), control=control) - y).abs().mean()) > 0.01
        before = network(**inputs(), control=control)
        network.control_blocks[0].mlp.layer2.weight.mul_(2.0)
        assert torch.equal(network(**inputs()), y)
        assert not torch.equal(network(**inputs(), control=control), before)
    assert "control_blocks.0" in network.parallel_plan().blocks
    for options in ({"control_blocks": 1}, {"control_channels": 16, "control_blocks": 99}):
        with pytest.raises(UserError, match="control blocks: expected 0"):
            build_dit("predict2_2b_multiview", **TINY, **options)


def test_sizes_that_do_not_fit_name_the_numbers(network: torch.nn.Module) -> None:
    x, times = torch.zeros(1, 16, 5, 8, 12), torch.zeros(1)
    with pytest.raises(UserError, match=r"\(5, 8, 12\) do not divide by \(2, 2, 2\) \(state_t=2"):
        network(x, times)
    with pytest.raises(UserError, match=r"view_indices of shape \(1, 3\): expected one for each of 6 frames"):
        network(torch.zeros(1, 16, 6, 8, 12), times, view_indices=torch.zeros(1, 3, dtype=torch.int64))
    with pytest.raises(UserError, match=r"\(2, 121, 2\) of tokens in a view; valid: at most \(128, 120, 120\)"):
        network(torch.zeros(1, 16, 2, 242, 4), times)
