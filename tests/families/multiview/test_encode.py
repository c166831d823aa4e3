"""Latents of clips of several cameras as shards: what they hold, and a training with rays from them alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.multiview.config import MultiviewDataConfig
from cosmos_lidar.families.multiview.encode import encode_shards
from cosmos_lidar.families.multiview.rays import batch_rays
from cosmos_lidar.latents.video_space import open_video_space
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.lora_files import read_adapter
from cosmos_lidar.models.wan_vae import build_vae
from cosmos_lidar.recipes import multiview
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.shards.facts import first_sample
from cosmos_lidar.shards.latents import META
from cosmos_lidar.shards.multiview_writer import MultiviewOptions, write_multiview
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.sources import resolve
from cosmos_lidar.synth import synthesize_drive
from tests.families.multiview.runs import losses, some_run
from tests.families.multiview.test_job import video_options
from tests.shards.cameras import NAMES, camera_clip, with_lidar

pytest.importorskip("nemo")
pytest.importorskip("megatron.energon")


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MultiviewDataConfig]:
    """Folder of latents, and the options that made them."""
    folder = tmp_path_factory.mktemp("encoded")
    data = some_run(folder, "x", *video_options(folder)).data
    assert encode_shards(data, folder / "latents", ["train", "val"]) == {"train": 1, "val": 1}
    return folder / "latents", data


def test_latents_and_rays_are_those_of_the_videos(encoded: tuple[Path, MultiviewDataConfig]) -> None:
    from energon_tasks.latents import latents_loader
    from energon_tasks.multiview import ViewWindow, multiview_loader

    folder, data = encoded
    (found,) = latents_loader(folder, "val", training=False, batch_size=1, num_workers=0)
    window = ViewWindow(5, (32, 48), (5, 0, 1))
    (videos,) = multiview_loader(data.path, "val", window=window, training=False, captions="none",
                                batch_size=1, num_workers=0)  # fmt: skip
    space = open_video_space(data.vae.checkpoint)
    assert torch.equal(found.latents[0], space.encode(videos.frames[0]).half().float())
    assert found.clip_ids == videos.clip_ids
    assert torch.equal(found.rays, batch_rays(videos))
    meta = json.loads(first_sample(resolve(folder, "val").parts[0])[META])
    assert (meta["view_ids"], meta["fps"], len(meta["lenses"])) == ([5, 0, 1], 10.0, 3)


def test_a_training_with_rays_of_latents_alone(encoded: tuple[Path, MultiviewDataConfig], tmp_path: Path) -> None:
    torch.save(build_dit("predict2_debug_multiview").state_dict(), tmp_path / "base.pt")
    options = ["synthetic_clips=0", f"data.path={encoded[0]}", "data.view_ids=[5,0,1]", "data.text_shape=[]"]
    options += ["data.batch_size=1", "model.rays=true", "model.lora.rank=2", "optim.warmup_steps=0"]
    options += [
        f"model.checkpoint={tmp_path / 'base.pt'}",
        "trainer.max_steps=2",
        "trainer.checkpoint_trained_only=true",
    ]
    folder = multiview.train(some_run(tmp_path, "a", *options)).folder
    adapter = read_adapter(folder / "checkpoints" / "iter_000000002_reg_lora")
    assert bool((adapter.saved["ray_embedder.weight"] != 0).any())


def test_latents_without_rays_are_refused_before_the_training(tmp_path: Path) -> None:
    from cosmos_lidar.families.dit.job import write_waves

    folder = write_waves(tmp_path / "waves", 4, [16, 6, 4, 8], [], 0)
    run = some_run(tmp_path, "x", "synthetic_clips=0", f"data.path={folder}", "data.view_ids=[5,0,1]",
                   "data.text_shape=[]", "model.rays=true")  # fmt: skip
    with pytest.raises(UserError, match=r"no rays of the cameras with the latents.*waves.*encode-clips"):
        multiview.FAMILY.resolve(run)


@pytest.mark.slow  # two trainings
def test_control_videos_of_latents_alone(tmp_path: Path) -> None:
    """They are latents of their videos, and a training takes them, or leaves them out."""
    from energon_tasks.latents import latents_loader

    drive = synthesize_drive(2, uniform_sensor(16, 96), 5)
    clips = [with_lidar(camera_clip(f"clip{n}", 5, NAMES[1:3], size=(32, 48)), drive) for n in range(2)]
    write_multiview(clips, tmp_path / "shards", MultiviewOptions(controls=("depth",)), PrepareOptions(split=(0.5, 0.5)))
    torch.manual_seed(0)
    torch.save(build_vae("wan2_1", dim=8).state_dict(), tmp_path / "vae.pth")
    shape = ["synthetic_clips=0", "data.view_ids=[5,0]", "data.latent_shape=[16,2,4,6]", "data.captions=none"]
    videos = [f"data.path={tmp_path / 'shards'}", f"data.vae.checkpoint={tmp_path / 'vae.pth'}"]
    encode_shards(
        some_run(tmp_path, "x", *shape, *videos).data, tmp_path / "latents", ["train", "val"], "cpu", ["depth"]
    )
    (found,) = latents_loader(tmp_path / "latents", "val", training=False, batch_size=1, num_workers=0)
    assert found.controls.shape == (1, 1, 16, 4, 4, 6)
    assert not torch.equal(found.controls[:, 0], found.latents)
    latents = [*shape, f"data.path={tmp_path / 'latents'}", "data.text_shape=[]", "data.batch_size=1"]
    latents += ["trainer.max_steps=2", "optim.warmup_steps=0", "model.control.dropout=0"]
    folders = [multiview.train(some_run(tmp_path, name, *latents, *own)).folder for name, own in
               (("with", ["model.control.kinds=[depth]"]), ("without", []))]  # fmt: skip
    weights = torch.load(folders[0] / "checkpoints" / "published" / "model" / "iter_000000002.pt", weights_only=True)
    assert bool((weights["net.control_embedder.weight"] != 0).any())
    assert [len(losses(folder)) for folder in folders] == [2, 2]
    with pytest.raises(UserError, match=r"kinds=\['boxes'\]: control videos of the latents in .*: \['depth'\]"):
        multiview.FAMILY.resolve(some_run(tmp_path, "x", *latents, "model.control.kinds=[boxes]"))


def test_a_folder_that_is_not_empty(encoded: tuple[Path, MultiviewDataConfig]) -> None:
    with pytest.raises(UserError, match="latents is not empty"):
        encode_shards(encoded[1], encoded[0], ["val"])
