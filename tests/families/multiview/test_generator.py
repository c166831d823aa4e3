"""Sampling of several views: conditioning frames, chained clips, adapters and guidance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.multiview.config import MultiviewTrainConfig
from cosmos_lidar.families.multiview.generator import (
    ViewGenerator,
    ViewSampling,
    find_configuration,
    open_view_generator,
)
from cosmos_lidar.families.multiview.inputs import ViewInput
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.lora import add_lora
from cosmos_lidar.models.dit.lora_files import save_lora
from cosmos_lidar.models.wan_vae import build_vae
from cosmos_lidar.recipes import multiview
from cosmos_lidar.training.overrides import apply_overrides

SIZE = (32, 48)


def configuration() -> MultiviewTrainConfig:
    return apply_overrides(multiview.debug(), ["data.latent_shape=[16,3,4,6]", "data.view_ids=[5,0]"])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Weights of a network and of a VAE."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    network = build_dit("predict2_debug_multiview", **configuration().shape())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    torch.save({f"net.{name}": value for name, value in network.state_dict().items()}, folder / "model.pt")
    torch.save(build_vae("wan2_1", dim=8).state_dict(), folder / "vae.pth")
    return folder / "model.pt", folder / "vae.pth"


def generator(files: tuple[Path, Path], adapters: tuple[Path, ...] = (), **sampling: object) -> ViewGenerator:
    options = ViewSampling(steps=2, **sampling)  # type: ignore[arg-type]
    return open_view_generator(files[0], configuration(), vae=files[1], sampling=options, adapters=adapters)


def given(frames: int = 9, text: bool = True) -> ViewInput:
    random = torch.Generator().manual_seed(1)
    images = torch.randint(0, 255, (2, 3, frames, *SIZE), generator=random).to(torch.uint8)
    slots = torch.randn(2 * 8, 64, generator=random) if text else None
    return ViewInput("clip", ("a", "b"), images, slots, (), 10.0)


@pytest.mark.parametrize("count", [1, 5])
def test_conditioning_frames_come_back_as_the_vae_has_them(files: tuple[Path, Path], count: int) -> None:
    made = generator(files, conditional=count, guidance=0.0)
    video = made(given(), seed=0)
    assert video.shape == (2, 3, 9, *SIZE)
    frames = given().frames[:, :, :count]
    through = made.space.decode(made.space.encode(frames), 2)
    wanted = (through.add(1).div(2).clamp(0, 1) * 255 + 0.5).to(torch.uint8)
    assert torch.equal(video[:, :, :count], wanted)
    assert not torch.equal(video[:, :, count:], given().frames[:, :, count:])


def test_frames_behind_the_conditioning_ones_are_not_looked_at(files: tuple[Path, Path]) -> None:
    made = generator(files)
    other = given()
    other = replace(other, frames=torch.cat([other.frames[:, :, :1], torch.zeros_like(other.frames[:, :, 1:])], dim=2))
    assert torch.equal(made(given(), 0), made(other, 0))


def test_everything_that_it_is_given_counts(files: tuple[Path, Path]) -> None:
    made = generator(files)
    video = made(given(), 0)
    assert torch.equal(video, made(given(), 0))
    others = [made(given(), 1), made(given(text=False), 0), made(given(), 0, fps=30.0)]
    others += [replace(made, negative=torch.randn(16, 64))(given(), 0), generator(files, guidance=0.0)(given(), 0)]
    assert not any(torch.equal(video, other) for other in others)


def test_control_videos_count_and_may_be_left_out(files: tuple[Path, Path], tmp_path: Path) -> None:
    """Those of an untrained projection change nothing, others do; without them it is the network without."""
    run = apply_overrides(configuration(), ["model.control.kinds=[depth]"])
    state = torch.load(files[0], weights_only=True)
    state["net.control_embedder.weight"] = torch.randn(96, 64, generator=torch.Generator().manual_seed(0))
    torch.save(state, tmp_path / "trained.pt")
    videos = torch.randint(0, 255, (2, 3, 9, *SIZE), generator=torch.Generator().manual_seed(2)).to(torch.uint8)
    drawn, base = replace(given(), controls={"depth": videos}), generator(files, guidance=0.0)(given(), 0)
    options = {"vae": files[1], "sampling": ViewSampling(steps=2, guidance=0.0)}
    fresh, trained = (open_view_generator(file, run, **options) for file in (files[0], tmp_path / "trained.pt"))
    assert torch.equal(fresh(drawn, 0), base)
    assert torch.equal(trained(given(), 0), base)
    assert not torch.equal(trained(drawn, 0), base)
    with pytest.raises(DataError, match="control videos 'depth'.*model.control.kinds"):
        generator(files)(drawn, 0)


def test_control_videos_of_a_chain(files: tuple[Path, Path], tmp_path: Path) -> None:
    """The second clip takes them from the frame on that it begins with."""
    run = apply_overrides(configuration(), ["model.control.kinds=[depth]"])
    state = torch.load(files[0], weights_only=True)
    state["net.control_embedder.weight"] = torch.randn(96, 64, generator=torch.Generator().manual_seed(0))
    torch.save(state, tmp_path / "trained.pt")
    videos = torch.randint(0, 255, (2, 3, 17, *SIZE), generator=torch.Generator().manual_seed(2)).to(torch.uint8)
    one, two = (
        open_view_generator(
            tmp_path / "trained.pt", run, vae=files[1], sampling=ViewSampling(steps=2, guidance=0.0, segments=count)
        )
        for count in (1, 2)
    )
    chain = two(replace(given(), controls={"depth": videos}), 4)
    assert chain.shape[2] == two.sampling.total_frames(9) == 17
    first = one(replace(given(), controls={"depth": videos[:, :, :9]}), 4)
    assert torch.equal(chain[:, :, :9], first)
    after = replace(given(), frames=first[:, :, 8:], controls={"depth": videos[:, :, 8:]})
    assert torch.equal(chain[:, :, 9:], one(after, 5)[:, :, 1:])
    with pytest.raises(DataError, match="16 frames of control videos 'depth'.*Expected: 17 for 2 clips of 9"):
        two(replace(given(), controls={"depth": videos[:, :, :16]}), 4)


def test_a_chain_begins_where_the_clip_before_ends(files: tuple[Path, Path]) -> None:
    single, chain = generator(files)(given(), 4), generator(files, segments=2)(given(), 4)
    assert chain.shape[2] == 9 + 8
    assert torch.equal(chain[:, :, :9], single)
    after = generator(files)(replace(given(), frames=single[:, :, 8:]), 5)
    assert torch.equal(chain[:, :, 9:], after[:, :, 1:])


def test_adapters_are_added(files: tuple[Path, Path], tmp_path: Path) -> None:
    """Adapters that change nothing make the same video, others another one."""
    network = build_dit("predict2_debug_multiview", **configuration().shape())
    network.load_state_dict({k.removeprefix("net."): v for k, v in torch.load(files[0], weights_only=True).items()})
    add_lora(network, 2, 2.0, ["q_proj"])
    save_lora(network, tmp_path / "zero")
    base = generator(files)(given(), 0)
    assert torch.equal(base, generator(files, (tmp_path / "zero",))(given(), 0))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.5)
    save_lora(network, tmp_path / "some")
    changed = generator(files, (tmp_path / "zero", tmp_path / "some"))(given(), 0)
    assert not torch.equal(base, changed)


@pytest.mark.parametrize(
    "options",
    [{"conditional": 2}, {"steps": 0}, {"segments": 2, "conditional": 0}, {"sampler": "x"}, {"sigma_max": 0.001}],
)
def test_impossible_settings(options: dict) -> None:
    with pytest.raises(UserError):
        ViewSampling(**options)


def test_inputs_that_do_not_fit(files: tuple[Path, Path]) -> None:
    with pytest.raises(DataError, match="2 views of 0 frames"):
        generator(files)(replace(given(), frames=given().frames[:, :, :0]), 0)
    with pytest.raises(UserError, match="9 conditioning frames of 9"):
        generator(files, conditional=9)


def test_the_configuration_of_a_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "run" / "checkpoints" / "published" / "model" / "iter_1.pt"
    assert find_configuration(file) is None
    file.parent.mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_text("family: multiview\n")
    assert find_configuration(file) == tmp_path / "run" / "config.yaml"
    assert find_configuration(file, tmp_path / "other.yaml") == tmp_path / "other.yaml"
