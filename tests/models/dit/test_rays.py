"""A transformer whose tokens know their rays, and one that looks at a part of its tokens."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cosmos_lidar.diffusion.objective import flow_ladder
from cosmos_lidar.diffusion.samplers import solve
from cosmos_lidar.errors import UserError
from cosmos_lidar.families.lidargen.canvas import CanvasLayout
from cosmos_lidar.families.lidargen.denoiser import LidarGenDenoiser, sample_lidar
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.rays import RAY_CHANNELS, ray_angles, ray_features


def network(views: int = 4, **shape: object) -> torch.nn.Module:
    torch.manual_seed(0)
    made = build_dit("faditv2_debug", n_views=views, **shape).double()
    with torch.no_grad():
        for parameter in made.parameters():  # branches that start at zero hide errors
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made.eval()


RAYS = {"ray_channels": RAY_CHANNELS, "view_condition_dim": 0, "extra_per_block_abs_pos_emb": False,
        "cross_attention": False}  # fmt: skip


def some_rays(views: int) -> Tensor:
    rays = torch.randn(2, views, 4, 6, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    rays[..., 3:] /= rays[..., 3:].norm(dim=-1, keepdim=True)
    return rays


def noise(views: int, seed: int = 1) -> Tensor:
    return torch.randn(2, 16, views, 8, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@torch.no_grad()
def test_all_tokens_kept_is_the_whole_and_tokens_left_out_do_not_matter():
    made, x, times = network(), noise(4), torch.randn(2)
    whole = made(x, times)
    assert torch.allclose(made(x, times, kept=torch.arange(4 * 4 * 6)), whole, atol=1e-12)
    kept = torch.arange(4 * 4 * 6)
    kept = kept[kept % 6 < 4]  # of each row the last two tokens, four latents, are not looked at
    part = made(x, times, kept=kept)
    assert torch.equal(part[..., 8:], torch.zeros(2, 16, 4, 8, 4, dtype=torch.float64))
    changed = x.clone()
    changed[..., 8:] += 100.0
    assert torch.equal(made(changed, times, kept=kept), part)
    assert not torch.allclose(part[..., :8], whole[..., :8], atol=1e-3)
    narrow = network()(x[..., :8], times)  # a narrower canvas: the same tokens at the same places
    assert torch.allclose(narrow, part[..., :8], atol=1e-12)


@torch.no_grad()
def test_with_rays_the_order_of_cameras_does_not_matter_and_their_number_is_free():
    made, x, rays, times = network(**RAYS), noise(4), some_rays(4), torch.randn(2)
    order = [0, 3, 1, 2]
    out = made(x, times, rays=rays)
    assert torch.allclose(made(x[:, :, order], times, rays=rays[:, order]), out[:, :, order], atol=1e-12)
    turned = rays.clone()
    turned[:, 2] = rays[:, 3]
    assert not torch.allclose(made(x, times, rays=turned), out, atol=1e-3)
    more = network(views=7, **RAYS)
    more.load_state_dict(made.state_dict())
    assert more(noise(7), times, rays=some_rays(7)).shape == (2, 16, 7, 8, 12)


def test_without_text_the_idle_layers_are_left_out_of_the_file():
    with_text, without = build_dit("faditv2_debug"), build_dit("faditv2_debug", cross_attention=False)
    names = [name.replace("blocks.2.block", "blocks.1.block").replace("blocks.2.adaLN", "blocks.1.adaLN")
             for name in with_text.state_dict() if ".blocks.1." not in name]  # fmt: skip
    assert names == list(without.state_dict())
    values = [value for name, value in with_text.state_dict().items() if ".blocks.1." not in name]
    without.load_state_dict(dict(zip(names, values, strict=True)))
    x, times = torch.randn(1, 16, 4, 8, 12), torch.randn(1)
    assert torch.equal(without(x, times), with_text(x, times))


def test_features_and_angles_of_a_ray():
    rays = torch.tensor([[1.0, 2.0, 3.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.6, 0.0, 0.8]], dtype=torch.float64)
    found = ray_features(rays)
    assert found.shape == (2, RAY_CHANNELS)
    assert found[0, :6].tolist() == [1, 2, 3, 0, 1, 0]
    assert found[1, 6].item() == pytest.approx(torch.sin(torch.tensor(0.6 * torch.pi)).item())  # x, first octave
    assert found[1, 6 + 15 + 14].item() == pytest.approx(torch.cos(torch.tensor(16 * 0.8 * torch.pi)).item())  # z, last
    angles = ray_angles(rays, 12, 10.0)  # 4 numbers of time, 4 of rows, 4 of columns, in two halves
    assert angles[0].tolist() == pytest.approx([0, 0, 0, 0, 5 * torch.pi, 5 * torch.pi / 100] * 2)
    elevation = torch.atan2(torch.tensor(0.8), torch.tensor(0.6)).item() * 10
    assert angles[1].tolist() == pytest.approx([0, 0, elevation, elevation / 100, 0, 0] * 2)


@torch.no_grad()
def test_a_dense_denoiser_of_rays_does_not_see_the_unfilled_canvas():
    layout = CanvasLayout(lidar=(8, 6), image=(6, 12), views=3)
    denoiser = LidarGenDenoiser(network(**RAYS), layout, objective="flow", dense=True)
    denoiser.compute_dtype = torch.float64
    canvas, rays = noise(4), some_rays(4)
    sigma, level = torch.tensor([0.3, 2.0], dtype=torch.float64), torch.tensor([0.05, 0.1], dtype=torch.float64)
    noisy, drawn = noise(4, 5), noise(4, 6)
    found = denoiser(noisy, sigma, canvas, level, drawn, rays)
    changed = noisy.clone()
    changed[:, :, 0, :, 6:] += 10.0
    assert torch.equal(layout.lidar_of(denoiser(changed, sigma, canvas, level, drawn, rays)), layout.lidar_of(found))
    assert torch.equal(found[:, :, 1:, :6, :12], canvas[:, :, 1:, :6, :12])
    assert len(layout.kept()) == 4 * 3 + 3 * 3 * 6
    images = canvas[:, :, 1:, :6].transpose(1, 2)
    made = sample_lidar(denoiser, images, lambda d, start: solve("ddim", d, start, flow_ladder(3)), [4, 5], rays)
    assert made.shape == (2, 16, 8, 6)
    assert made.isfinite().all()


def test_what_does_not_go_together():
    x, times, text = torch.zeros(1, 16, 4, 8, 12), torch.zeros(1), torch.zeros(1, 8, 64)
    with pytest.raises(UserError, match="this network takes no rays"):
        build_dit("faditv2_debug")(x, times, rays=torch.zeros(1, 4, 4, 6, 6))
    with pytest.raises(UserError, match="this network is ray-conditioned: rays are required"):
        build_dit("faditv2_debug", **RAYS)(x, times)
    with pytest.raises(UserError, match="text for a network that computes only a part"):
        build_dit("faditv2_debug")(x, times, text, kept=torch.arange(4))
    with pytest.raises(UserError, match="text for a network that has no cross-attention"):
        build_dit("faditv2_debug", cross_attention=False)(x, times, text)
