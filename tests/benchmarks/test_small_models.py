"""The programs that train the small models: data, the VAE's latent statistics, and folders of the catalog."""

from __future__ import annotations

import importlib
import json
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cosmos_lidar.families.also.config import AlsoTrainConfig
from cosmos_lidar.models.wan_vae import build_vae
from cosmos_lidar.recipes import also_pretrain
from cosmos_lidar.training.overrides import apply_overrides, load_config

FOLDER = Path(__file__).parents[2] / "benchmarks" / "small_models"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(FOLDER)

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def test_no_drive_is_trained_on_and_measured_on(program) -> None:
    common = program("common")
    assert not set(common.train_seeds(500)) & set(common.held_out_seeds(5000))


def test_normalized_latents_have_the_published_statistics_and_the_same_images(program) -> None:
    module, torch_seed = program("video_vae"), 3
    torch.manual_seed(torch_seed)
    vae = build_vae("wan2_1", dim=2)
    videos = np.random.default_rng(0).integers(0, 256, (3, 9, 16, 24, 3), dtype=np.uint8)
    video = module.as_input(videos[:1])
    before = vae.decode(vae.encode(video))
    module.normalized(vae, videos)
    latents = vae.encode(module.as_input(videos))
    assert latents.mean(dim=(0, 2, 3, 4)).abs().max() < 1e-3
    assert (latents.std(dim=(0, 2, 3, 4)) - 1).abs().max() < 1e-3
    assert (vae.decode(vae.encode(video)) - before).abs().max() < 1e-3 * before.abs().max()


def test_crops_are_those_of_their_step(program) -> None:
    module = program("video_vae")
    videos = np.random.default_rng(0).integers(0, 256, (2, 6, 64, 64, 3), dtype=np.uint8)
    first, again, next_one = (module.crops(videos, step, seed=1) for step in (5, 5, 6))
    assert first.shape == (2, 3, 5, 64, 64)
    assert torch.equal(first, again)
    assert not torch.equal(first, next_one)
    assert first.abs().max() <= 1


def test_training_is_taken_up_where_it_was(program, tmp_path: Path) -> None:
    module = program("video_vae")
    videos = np.random.default_rng(0).integers(0, 256, (1, 5, 64, 64, 3), dtype=np.uint8)
    args = Namespace(steps=4, lr=1e-3, seed=0, folder=tmp_path)
    torch.save(build_vae("wan2_1", dim=8).state_dict(), tmp_path / "start.pt")
    whole = module.new_training(args, videos)
    losses = [module.train_step(whole, module.crops(videos, step, 0)[:1, ..., :16, :16], 0) for step in range(2)]
    whole.save(tmp_path / "vae.pt")
    losses += [module.train_step(whole, module.crops(videos, 2, 0)[:1, ..., :16, :16], 0)]
    later = module.new_training(args, videos)
    later.load(tmp_path / "vae.pt")
    assert later.step == 2
    assert module.train_step(later, module.crops(videos, 2, 0)[:1, ..., :16, :16], 0) == losses[2]
    assert all(np.isfinite(losses))


def test_a_vae_starts_as_principal_components_fitted_layer_by_layer(program, monkeypatch: pytest.MonkeyPatch) -> None:
    module = program("layerwise_fit")
    monkeypatch.setattr(module, "_POSITIONS", 1500)
    torch.manual_seed(0)
    vae = build_vae("wan2_1", dim=8)
    coarse = torch.rand(4, 3, 4, 5, 5) * 2 - 1
    videos = torch.nn.functional.interpolate(coarse, (9, 32, 32), mode="trilinear", align_corners=True)
    module.fit_layers(vae, videos)
    latents = vae.denormalize(vae.encode(videos))
    assert latents.mean((0, 2, 3, 4)).abs().max() < 0.2
    assert (latents.std((0, 2, 3, 4)) - 1).abs().max() < 0.3
    error = (vae.decode(vae.encode(videos)) - videos).square().mean()
    averages = videos.unfold(3, 8, 8).unfold(4, 8, 8).var((5, 6), correction=0).mean()
    assert error < averages


def test_mirrored_street_swaps_sides(program) -> None:
    module = program("camera_drives")
    videos = np.arange(3 * 2 * 2 * 4 * 3, dtype=np.uint8).reshape(3, 2, 2, 4, 3)
    found = module.mirrored(videos)
    assert np.array_equal(found[0], videos[2][:, :, ::-1])
    assert np.array_equal(module.mirrored(found), videos)


def test_lidars_of_drives_take_turns(program) -> None:
    module = program("sparse_drives")
    assert [module.sensor_of(seed).name for seed in range(5)] == [*module.SENSORS, module.SENSORS[0]]


def test_options_of_a_run_make_the_same_network_again(program, tmp_path: Path) -> None:
    common = program("common")
    changed = ["model.width=8", "data.path=/somewhere", "model.checkpoint=/there", "optim.lr=0.5", "log.root=/else"]
    run = apply_overrides(also_pretrain.debug(), changed)
    options = common.own_options(run)
    assert not any(place in json.dumps(options) for place in ("/somewhere", "/there", "/else"))
    common.write_weights(tmp_path / "m", {"a": torch.tensor([1 / 3])}, {"family": "also", "run": options})
    again = load_config(AlsoTrainConfig, tmp_path / "m" / "config.json")
    run.model.checkpoint = ""
    assert again.model == run.model
    assert again.optim.lr == 0.5
    assert load_file(tmp_path / "m" / "model.safetensors")["a"].dtype == torch.float16


def test_weights_beyond_fp16_are_refused(program, tmp_path: Path) -> None:
    common = program("common")
    with pytest.raises(ValueError, match="fp16"):
        common.write_weights(tmp_path / "m", {"a": torch.tensor([1e6])}, {"family": "also"})
    assert not (tmp_path / "m" / "model.safetensors").exists()


def test_cost_adds_up_over_calls(program, tmp_path: Path) -> None:
    common = program("common")
    first = common.add_cost(tmp_path, 10.0, "a1")
    second = common.add_cost(tmp_path, 5.0, "b2")
    assert (first.cpu_s, second.cpu_s) == (10.0, 15.0)
    assert second.commit == first.commit == "a1"
    assert common.read_cost(tmp_path) == second


def test_a_card_names_data_seed_and_program(program, tmp_path: Path) -> None:
    common = program("common")
    folder = tmp_path / "small-x"
    folder.mkdir()
    card = common.Card(
        "A network.", "2 drives", "3 steps, seed 0.", "benchmarks/small_models/sparse.py s", [("a", "1")], "-"
    )
    common.write_card(folder, card, common.Cost(1.0, "a processor", "abc", "2026-01-01"), 1234)
    text = (folder / "README.md").read_text()
    for part in (
        "cosmos_lidar/small-x",
        "1,234 parameters",
        "`benchmarks/small_models/sparse.py`",
        "| a | 1 |",
        "commit abc",
    ):
        assert part in text
    assert "python benchmarks/small_models/sparse.py s --out cosmos_lidar/weights\n" in text


def test_a_tokenizer_starts_as_principal_components(program) -> None:
    from cosmos_lidar.models.tokenizer import build_tokenizer

    shape = program("principal").SHAPE
    torch.manual_seed(0)
    network = build_tokenizer("CI8x8", **shape).eval()
    mixed = torch.randn(3, 24, 20) @ torch.randn(3, 20, 64) * 0.1  # rank 60 of 192
    patches = torch.cat([mixed[c].T.reshape(8, 8, 24) for c in range(3)]).view(3, 8, 8, 24)
    image = patches.permute(0, 1, 3, 2).reshape(1, 3, 8, 192) + 0.2
    program("principal").start_from_principal(network, [image], (1.0, 1.0, 1.0))
    with torch.no_grad():
        latents, made = network.encode(image), network.decode(network.encode(image))
    assert latents.mean((0, 2, 3)).abs().max() < 0.05
    assert (latents.std((0, 2, 3)) - 1).abs().max() < 0.05
    flat = image.view(3, 8, 24, 8).permute(2, 0, 1, 3).reshape(24, 192)
    left, values, right = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)
    best = flat.mean(0) + left[:, :16] * values[:16] @ right[:16]
    error, least = ((made - image) ** 2).mean(), ((best - flat) ** 2).mean()
    assert least > 0
    assert error.item() == pytest.approx(least.item(), rel=0.05)


@pytest.mark.parametrize("scale_inputs", [145, 289])
def test_fitted_channels_are_what_the_decoder_gives(program, scale_inputs: int) -> None:
    from cosmos_lidar.models.tokenizer import build_tokenizer

    module, coder = program("principal"), program("range_tokenizer")
    torch.manual_seed(1)
    network = build_tokenizer("CI8x8", **module.SHAPE, coding="validity", scale=True).eval()
    image = torch.randn(1, 3, 6, 8).repeat_interleave(8, 2).repeat_interleave(8, 3).clamp(-0.9, 0.9)[:, :1]
    image = (image + 0.02 * torch.randn(1, 1, 48, 64)).expand(-1, 3, -1, -1)
    module.start_from_principal(network, [image], (1.0, 1.0, 1.0))
    context = module.context_of(network, [image])
    wanted = [torch.randn(count, 64) * 0.02 for count in (145, 145, scale_inputs)]
    if scale_inputs > 145:
        module.add_magnitudes(network)
        assert torch.allclose(module.with_magnitudes(context), magnitudes_beside(context), atol=1e-5)
    module.set_decoder(network, coder.raw_weights(*wanted))
    with torch.no_grad():
        made = network.decode_channels(network.encode(image))
    for weights, channel in zip(wanted, made, strict=True):
        inputs = context if len(weights) == 145 else magnitudes_beside(context)
        assert torch.allclose(module.patches_of(channel), inputs @ weights, atol=2e-3)


def magnitudes_beside(context: torch.Tensor) -> torch.Tensor:
    """Return contexts with z tanh(2 z) of each latent before the constant."""
    z = context[:, :144].double().numpy()
    return torch.from_numpy(np.hstack([z, z * np.tanh(2 * z), np.ones((len(z), 1))])).float()


def test_the_expected_error_has_the_sum_of_the_measured_one_weighted_by_each_input(program) -> None:
    module = program("range_tokenizer")
    generator = torch.Generator().manual_seed(3)
    context = torch.cat((torch.randn(3000, 2, generator=generator), torch.ones(3000, 1)), dim=1)
    error = torch.rand(3000, 64, generator=generator) * (0.1 + context[:, :1].abs())  # not log-linear in the context
    valid = (torch.rand(3000, 64, generator=generator) > 0.3).float()
    expected = (context @ module.fit_scale(context, error, valid, 60)).exp()
    assert torch.allclose(context.T @ (expected * valid), context.T @ (error * valid), rtol=0.02, atol=20.0)
    assert (expected * valid).sum() == pytest.approx(float((error * valid).sum()), rel=0.01)


def test_least_squares_and_fit_agree_on_a_quadratic_loss(program) -> None:
    module = program("principal")
    context = torch.randn(400, 145, generator=torch.Generator().manual_seed(2))
    target = context[:, :5] @ torch.randn(5, 64) + 0.1 * torch.randn(400, 64)
    exact = module.least_squares(context, target, ridge=0.0)
    fitted = module.fit(context, lambda made: ((made - target) ** 2).mean(), torch.zeros(145, 64), 60)
    assert torch.allclose(fitted, exact, atol=1e-2)


def test_range_images_of_a_step_are_the_same_every_time(program) -> None:
    module = program("lidar_sweeps")
    drives = {1000: np.random.default_rng(0).uniform(0, 90, (4, 64, 1024)).astype(np.float32)}
    drives[1000][:, :, ::7] = 0
    for step in range(6):
        image, valid = module.step_image(drives, step, seed=1)
        again, _ = module.step_image(drives, step, seed=1)
        assert torch.equal(image, again)
        assert image.shape == (1, 3, 128, 512)
        assert valid.shape == (1, 1, 128, 512)
        assert torch.equal((image[:, :1] > -1) & (image[:, :1] < 1), valid)
