"""The published numbers, windows, batches and tiles, and inputs that do not fit."""

from __future__ import annotations

import logging

import pytest
import torch

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.models.wan_vae import build_vae
from cosmos_lidar.parallel.mesh import MeshSizes, check_plan
from tests.models.wan_vae.reference import VECTORS, difference, small_vae, video


@pytest.mark.parametrize("frames", [1, 5, 29])
def test_published_latents(frames: int):
    vae = small_vae()
    found = {window: vae.encode(video(frames), window=window) for window in (4, 16, None)}
    for z in found.values():
        assert difference(z, VECTORS[f"z_T{frames}"]) < 2e-5
    assert difference(found[4], found[16]) < 1e-6
    assert difference(found[None], found[16]) < 1e-6


def test_published_frames():
    made = small_vae().decode(VECTORS["z_T29"])
    assert difference(made[:, :, VECTORS["y_T29_frames"], ::4, ::4], VECTORS["y_T29_every_4th"]) < 1e-4
    assert difference(made.mean((0, 1, 3, 4)), VECTORS["y_T29_frame_mean"]) < 1e-5
    facts = [float(value) for value in (made.mean(), made.std(correction=0), made.min(), made.max())]
    assert facts == pytest.approx([-0.0328709, 0.6060003, -2.28177, 2.24760], abs=1e-4)


def test_bfloat16_is_as_close_to_the_published_one_as_that_is_to_float32():
    found = small_vae(torch.bfloat16).encode(video(29)[:, :, :9])
    assert found.dtype == torch.bfloat16
    published, exact = (VECTORS[name][:, :, :3] for name in ("z_T29_bf16", "z_T29"))
    error = (found.float() - published).square().mean().sqrt()
    assert float(error) < 2 * float((published - exact).square().mean().sqrt())


def test_the_first_frames_do_not_depend_on_later_ones():
    vae = small_vae()
    parts = list(vae.decode_chunks(VECTORS["z_T29"][:, :, :4]))
    assert [part.shape[2] for part in parts] == [1, 4, 4, 4]
    for count in (1, 2, 4):
        assert torch.equal(torch.cat(parts[:count], dim=2), vae.decode(VECTORS["z_T29"][:, :, :count]))


def test_frames_come_in_blocks_of_any_length():
    vae = small_vae()
    parts = list(vae.encode_chunks(video(29).split(6, dim=2), window=8))
    assert [part.shape[2] for part in parts] == [1, 2, 2, 2, 1]
    assert difference(torch.cat(parts, dim=2), VECTORS["z_T29"]) < 2e-5


def test_trimmed_frames_are_those_at_the_end(caplog: pytest.LogCaptureFixture):
    vae = small_vae()
    longer = torch.cat((video(5), torch.ones(1, 3, 3, 32, 48)), dim=2)
    with pytest.raises(DataError, match="a video of 8 frames.*5 or 9, or trim=True"):
        vae.encode(longer)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(vae.encode(longer, trim=True), vae.encode(video(5)))
    assert "dropped the last 3 of 8 frames" in caplog.text


def test_views_one_after_the_other_or_at_once():
    vae = small_vae(torch.float64)
    views = torch.cat((video(5), video(29)[:, :, :5], -video(5))).double()
    wanted = torch.cat([vae.encode(view[None]) for view in views])
    for batch in (1, 2, 8):
        assert difference(vae.encode(views, batch=batch), wanted) < 1e-11
    assert difference(vae.decode(wanted, batch=2)[1:2], vae.decode(wanted[1:2])) < 1e-11
    with pytest.raises(UserError, match="batch=0"):
        vae.encode(views, batch=0)


def test_tiles_come_close_to_whole_images_in_streams_too():
    vae, x = small_vae(), video(5).repeat(1, 1, 1, 1, 2)
    z, tiled = vae.encode(x), vae.encode(x, tile=48, overlap=32)
    assert z.shape == tiled.shape
    assert 0 < float((z - tiled).square().mean().sqrt()) < 0.3 * float(z.std())
    made = vae.decode(z, tile=48, overlap=32)
    assert made.shape == x.shape
    assert difference(torch.cat(list(vae.decode_chunks(z, tile=48, overlap=32)), dim=2), made) < 1e-5
    assert torch.equal(vae.encode(x, tile=96), z)  # one tile
    assert torch.equal(vae.decode(z, tile=96), vae.decode(z))


def test_no_gradients_are_kept():
    vae = build_vae("wan2_1", dim=2)
    z = vae.encode(torch.zeros(1, 3, 1, 8, 8))
    assert not z.requires_grad
    assert not vae.decode(z).requires_grad


def test_normalized_latents_have_mean_0_and_deviation_1_of_the_published_statistics():
    vae = build_vae("wan2_1", dim=2)
    mean, std = (torch.tensor(values).view(-1, 1, 1, 1) for values in (vae.config.latent_mean, vae.config.latent_std))
    z = mean + std * torch.randn(2, 16, 1, 3, 3)
    assert difference(vae.normalize(z), (z - mean) / std) < 1e-6
    assert difference(vae.denormalize(vae.normalize(z)), z) < 1e-5
    assert vae.normalize(z.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 5, 32, 48), r"shape \(3, 5, 32, 48\).*\(B, 3, T, H, W\)"),
        ((1, 1, 5, 32, 48), r"\(B, 3, T, H, W\)"),
        ((1, 3, 5, 30, 48), "multiples of 8: pad or crop first"),
        ((1, 3, 0, 32, 48), r"\(B, 3, T, H, W\)"),
    ],
)
def test_videos_of_another_shape_are_refused(shape: tuple[int, ...], message: str):
    with pytest.raises(DataError, match=message):
        small_vae().encode(torch.zeros(shape))


def test_other_inputs_that_do_not_fit():
    vae = small_vae()
    with pytest.raises(DataError, match="torch.uint8.*floating-point"):
        vae.encode(torch.zeros(1, 3, 1, 8, 8, dtype=torch.uint8))
    with pytest.raises(DataError, match=r"latents of shape \(1, 8, 1, 2, 2\)"):
        vae.decode(torch.zeros(1, 8, 1, 2, 2))
    with pytest.raises(UserError, match="window=5: expected a multiple of 4"):
        vae.encode(video(5), window=5)
    with pytest.raises(UserError, match="window=0: expected at least 1 latent frame"):
        vae.decode(VECTORS["z_T5"], window=0)


def test_unknown_names_and_fields_are_refused():
    with pytest.raises(UserError, match="unknown video VAE 'wan'; valid: wan2_1"):
        build_vae("wan")
    with pytest.raises(UserError, match="unknown field 'width'; valid: dim"):
        build_vae("wan2_1", width=4)


def test_the_plan_names_modules_that_exist():
    vae = small_vae()
    plan = vae.parallel_plan()
    assert len(plan.blocks) == 11 + 3 + 3 + 15
    for name in plan.blocks:
        vae.get_submodule(name)
    check_plan(MeshSizes(context=2), plan, "ulysses")
