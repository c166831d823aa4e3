"""Lidar and cameras together: prepared, trained on for some steps, generated from; off, nothing is another."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cosmos_lidar.cli import main
from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.video import VideoFile
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.lora_files import read_adapter
from cosmos_lidar.models.dit.weights import load_dit_weights
from cosmos_lidar.models.wan_vae import build_vae
from cosmos_lidar.recipes import multiview
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.shards.multiview_writer import MultiviewOptions, write_multiview
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.synth import synthesize_drive
from tests.families.multiview.runs import FEW, losses, some_run
from tests.shards.cameras import NAMES, camera_clip, with_lidar
from tests.workers.client import torchrun

pytest.importorskip("nemo")
pytest.importorskip("megatron.energon")

ROOT = Path(__file__).resolve().parents[3]
SWEEPS = (16, 48)
SHAPE = ["data.view_ids=[5,0]", "data.latent_shape=[16,2,4,6]", "data.captions=none"]


def drive(seed: int) -> Clip:
    return synthesize_drive(seed, uniform_sensor(16, 96), 9)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of shards of two cameras and a lidar, 9 frames each, and of weights."""
    folder = tmp_path_factory.mktemp("sweeps")
    clips = [with_lidar(camera_clip(f"clip{seed}", 9, NAMES[1:3], size=(32, 48)), drive(seed)) for seed in (2, 3)]
    options = MultiviewOptions(controls=("depth",), sweeps=SWEEPS)
    write_multiview(clips, folder / "shards", options, PrepareOptions(split=(0.5, 0.5)))
    torch.manual_seed(0)
    torch.save(build_vae("wan2_1", dim=8).state_dict(), folder / "vae.pth")
    network = build_dit("predict2_debug_multiview")
    for name, weight in network.named_parameters():
        if "adaln_modulation" in name:  # zeros would hide the blocks
            torch.nn.init.normal_(weight, std=0.05)
    torch.save(network.state_dict(), folder / "base.pt")
    return folder


def options_of(folder: Path, *more: str) -> list[str]:
    return [
        "synthetic_clips=0", f"data.path={folder / 'shards'}", f"data.vae.checkpoint={folder / 'vae.pth'}", *SHAPE,
        f"data.vae.cache={folder / 'cache'}", f"model.checkpoint={folder / 'base.pt'}", "data.batch_size=1",
        "optim.lr=0.02", "optim.warmup_steps=0", *more,
    ]  # fmt: skip


def test_a_loader_gives_the_range_images_of_the_window(prepared: Path) -> None:
    from energon_tasks.multiview import ViewWindow, multiview_loader

    window = ViewWindow(5, (32, 48), (5, 0), sweeps=SWEEPS)
    (batch,) = multiview_loader(prepared / "shards", "val", window=window, training=False, captions="none",
                                batch_size=1, num_workers=0)  # fmt: skip
    assert batch.sweeps[0].shape == (1, 3, 5, *SWEEPS)
    assert len(batch.sweep_content[0]) == 1
    assert float((batch.sweeps[0] > 30).float().mean()) > 0.2
    from cosmos_lidar.clips.sweep_images import SweepImages

    clip = drive(int(batch.clip_ids[0].removeprefix("clip")))
    # an image at 100 ms k lies nearest to the middle of the sweep before: 30 + 50 ms after that image's
    sweeps = [max(batch.starts[0] + frame - 1, 0) for frame in range(5)]
    draw = SweepImages(clip, SWEEPS)
    wanted = np.stack([draw(int(clip.timestamps_us[number].mean()))[..., 0] for number in sweeps])
    assert np.abs(batch.sweeps[0][0, 0].numpy().astype(int) - wanted).mean() < 12  # compressed


def test_trained_and_generated_from(prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Its first loss is that without sweeps; adapters and branch are saved alone; a chain of clips takes all sweeps."""
    more = ["model.lora.rank=2", "trainer.checkpoint_trained_only=true", "trainer.max_steps=3",
            "model.control.kinds=[depth]", "model.control.dropout=0", "model.control.blocks=1"]  # fmt: skip
    sweeps = ["model.sweeps.size=[16,48]", "model.sweeps.dropout=0"]
    with_them, without = (
        multiview.train(some_run(tmp_path, name, *options_of(prepared, *more, *some))).folder
        for name, some in (("with", sweeps), ("without", []))
    )
    assert losses(with_them)[0] == losses(without)[0]
    assert losses(with_them)[-1] != losses(without)[-1]
    adapter = with_them / "checkpoints" / "iter_000000003_reg_lora"
    saved = read_adapter(adapter).saved
    added = {"sweep_attention", "control_embedder", "control_blocks", "control_outputs"}
    assert {name.partition(".")[0] for name in saved} == added
    assert not any("lora" in name for name in saved)  # copies are trained whole
    assert bool((saved["sweep_attention.to_out.weight"] != 0).any())

    command = ["generate-views", "--checkpoint", prepared / "base.pt", "--config", with_them / "config.yaml", "--vae",
               prepared / "vae.pth", "--lora", adapter, "--data", prepared / "shards", "--steps", 1, "--guidance", 0,
               "--device", "cpu", "--segments", 2]  # fmt: skip
    videos = {}
    for name, own in (("all", []), ("none", ["--no_sweeps"])):
        assert main([str(word) for word in (*command, "--save_dir", tmp_path / name, *own)]) == 0
        (record,) = (tmp_path / name).glob("*.json")
        facts = json.loads(record.read_text())
        assert (facts["frames"], facts["settings"].get("sweeps")) == (9, True if name == "all" else None)
        video = VideoFile(record.with_suffix(".mp4"))
        videos[name] = np.stack([video(frame) for frame in range(9)]).astype(int)
    assert np.abs(videos["all"][1:] - videos["none"][1:]).mean() > 0.2
    capsys.readouterr()
    assert main([str(word) for word in (*command, "--save_dir", tmp_path / "x", "--segments", 3)]) == 2
    assert "13 frames" in capsys.readouterr().err


@pytest.mark.slow  # two ranks, then one
def test_two_ranks_are_one(prepared: Path, tmp_path: Path) -> None:
    """Ranks that share the tokens of a clip, with sweeps, control videos and copied blocks."""
    more = ["model.sweeps.size=[16,48]", "model.sweeps.dropout=0", "model.control.kinds=[depth]"]
    more += ["model.control.dropout=0", "model.control.blocks=1"]
    options = options_of(prepared, *more, "trainer.max_steps=3", "trainer.export=false")
    program = [str(ROOT / "recipes" / "multiview.py"), "recipe=debug", f"log.root={tmp_path}", "log.name=two", *FEW]
    done = torchrun(2, *program, "parallel.context=2", *options)
    assert done.returncode == 0, done.stderr[-3000:]
    one = losses(multiview.train(some_run(tmp_path, "one", *options)).folder)
    two = losses(tmp_path / "posttraining" / "multiview" / "two")
    assert [float(loss) for _, loss in one] == pytest.approx([float(loss) for _, loss in two], rel=1e-4)


def test_shards_without_sweeps_are_refused(prepared: Path, tmp_path: Path) -> None:
    from cosmos_lidar.errors import UserError

    run = some_run(tmp_path, "x", *options_of(prepared, "model.sweeps.size=[32,48]"))
    with pytest.raises(UserError, match=r"no range images of 32x48; valid: 16x48: .*--sweeps"):
        multiview.train(run)


def test_a_fresh_branch_of_a_published_file(prepared: Path) -> None:
    """Two loads begin alike, whatever random numbers were drawn before."""
    networks = [build_dit("predict2_debug_multiview", sweep_channels=16) for _ in range(2)]
    for network in networks:
        load_dit_weights(network, prepared / "base.pt")
    first, second = (network.state_dict() for network in networks)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert bool((first["sweep_attention.to_key.weight"] != 0).any())
