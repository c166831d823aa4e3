"""Recordings to videos: records of Waymo, and the scene of DDAD, prepared, trained on with adapters, generated from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cosmos_lidar.cli import main
from cosmos_lidar.clips.video import VideoFile
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.wan_vae import build_vae
from cosmos_lidar.shards.multiview import read_facts
from tests.clips.readers.waymo_records import record_drive, write_tfrecord
from tests.families.multiview.runs import FEW
from tests.models.tiny_t5 import write_tiny_t5

pytest.importorskip("nemo")
pytest.importorskip("megatron.energon")
pytestmark = pytest.mark.slow

SIZE = (32, 48)
TEXT = (12, 64)  # rows, width


def write_weights(folder: Path, frames: int) -> dict[str, Path]:
    """Write a network and a VAE with random weights, in the files of published ones."""
    torch.manual_seed(0)
    network = build_dit("predict2_debug_multiview", state_t=frames)
    torch.nn.init.normal_(network.view_embeddings.weight)
    for name, weight in network.named_parameters():
        if "adaln_modulation" in name:  # zeros would hide the blocks, and with them the adapters
            torch.nn.init.normal_(weight, std=0.05)
    files = {"network": folder / "model.safetensors", "vae": folder / "vae.pth"}
    save_file({f"net.{name}": value.contiguous() for name, value in network.state_dict().items()}, files["network"])
    torch.save(build_vae("wan2_1", dim=8).state_dict(), files["vae"])
    return files


def train_adapters(root: Path, files: dict[str, Path], shards: Path, *options: str) -> tuple[Path, Path]:
    """Train adapters for three steps by the command line; return the run, and the adapters."""
    words = [
        "recipe=debug", "synthetic_clips=0", f"data.path={shards}", f"data.vae.checkpoint={files['vae']}",
        f"data.vae.cache={root / 'cache'}", f"model.checkpoint={files['network']}", "model.lora.rank=2",
        "model.lora.alpha=4", "trainer.checkpoint_trained_only=true", "trainer.max_steps=3", "optim.lr=0.02",
        "optim.warmup_steps=0", "data.batch_size=1", f"log.root={root}", "log.name=run", *FEW, *options,
    ]  # fmt: skip
    assert main(["train", "multiview", *words]) == 0
    run = root / "posttraining" / "multiview" / "run"
    return run, run / "checkpoints" / "iter_000000003_reg_lora"


def generate(folder: Path, files: dict[str, Path], run: Path, shards: Path, *options: object) -> dict[str, object]:
    """Generate the only clip of a split by the command line; return its record."""
    words = ["generate-views", "--checkpoint", files["network"], "--config", run / "config.yaml", "--vae", files["vae"],
             "--data", shards, "--save_dir", folder, "--steps", 2, "--guidance", 0, "--device", "cpu",
             *options]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    (record,) = folder.glob("*.json")
    return json.loads(record.read_text()) | {"name": record.stem}


def frames_of(path: Path) -> np.ndarray:
    video = VideoFile(path)
    video.check()
    return np.stack([video(number) for number in range(len(video))])


def test_from_records_of_waymo(tmp_path: Path) -> None:
    """Records, captions, embeddings, shards, latents, adapters, videos; control videos change what is generated."""
    pytest.importorskip("transformers")
    drive = record_drive(frames=5, top=(8, 60), side=(4, 30))
    for segment in ("1111", "2222"):
        frames = [replace(frame, segment=segment) for frame in drive.frames]
        write_tfrecord(tmp_path / "waymo" / f"segment-{segment}_with_camera_labels.tfrecord", drive, frames)
    shards = tmp_path / "shards"
    views = "FRONT_LEFT,FRONT,FRONT_RIGHT"
    prepare = ["prepare", tmp_path / "waymo", shards, "--task", "multiview", "--views", views, "--image-size", "32x48",
               "--split", "0.5,0.5,0", "--prompt", "a street in the rain", "--control", "depth,boxes"]  # fmt: skip
    assert main([str(word) for word in prepare]) == 0
    assert read_facts(shards).view_ids == (5, 0, 1)
    t5 = write_tiny_t5(tmp_path / "t5", width=TEXT[1])
    assert main(["embed-captions", str(shards), "--encoder", str(t5), "--device", "cpu"]) == 0

    files = write_weights(tmp_path, 2)
    shape = ["data.view_ids=[5,0,1]", "data.latent_shape=[16,2,4,6]", f"data.text_shape=[{TEXT[0]},{TEXT[1]}]"]
    run, adapters = train_adapters(tmp_path, files, shards, *shape, "model.control.kinds=[depth,boxes]")
    with_adapters = generate(tmp_path / "with", files, run, shards, "--lora", adapters)
    without = generate(tmp_path / "without", files, run, shards, "--lora", adapters, "--control", "none")

    name = with_adapters["name"]
    assert with_adapters["cameras"] == views.split(",")
    assert with_adapters["captions"] == ["", "a street in the rain", ""]
    assert (with_adapters["frames"], with_adapters["fps"]) == (5, 10.0)
    for camera in views.split(","):
        assert frames_of(tmp_path / "with" / "videos" / camera / f"{name}.mp4").shape == (5, *SIZE, 3)
    made, other = (frames_of(tmp_path / folder / f"{name}.mp4").astype(int) for folder in ("with", "without"))
    assert made.shape == (5, 2 * SIZE[0], 2 * SIZE[1], 3)
    assert np.abs(made[1:] - other[1:]).mean() > 1
    assert with_adapters["psnr_db"] != without["psnr_db"]
    assert with_adapters["settings"]["controls"] == ["depth", "boxes"]


def test_from_the_scene_of_ddad(test_data: Path, tmp_path: Path) -> None:
    """Six calibrated cameras of a real scene, of which there are three instants: windows of one, without frames.

    The network is ray-conditioned, and generates for two of the cameras, too.
    """
    shards = tmp_path / "shards"
    prepare = ["prepare", test_data / "ddad_dgp" / "scene_02", shards, "--task", "multiview", "--image-size", "32x48",
               "--split", "1,0,0"]  # fmt: skip
    assert main([str(word) for word in prepare]) == 0
    facts = read_facts(shards)
    assert (len(facts.cameras), facts.longest) == (6, 3)

    files = write_weights(tmp_path, 1)
    ids = list(facts.view_ids)
    shape = [f"data.view_ids={ids}".replace(" ", ""), "data.latent_shape=[16,1,4,6]", "data.captions=none"]
    run, adapters = train_adapters(
        tmp_path, files, shards, *shape, "data.val_split=train", "model.condition.frames=[0]", "model.rays=true"
    )
    made = generate(tmp_path / "made", files, run, shards, "--split", "train", "--lora", adapters,
                    "--num_conditional_frames", 0)  # fmt: skip
    assert (made["cameras"], made["frames"]) == (list(facts.cameras), 1)
    for camera in facts.cameras:
        assert frames_of(tmp_path / "made" / "videos" / camera / f"{made['name']}.mp4").shape == (1, *SIZE, 3)
    assert made["psnr_db"] > 0
    two = generate(tmp_path / "two", files, run, shards, "--split", "train", "--lora", adapters,
                   "--num_conditional_frames", 0, "--", f"data.view_ids=[{ids[3]},{ids[0]}]")  # fmt: skip
    assert two["cameras"] == [facts.cameras[3], facts.cameras[0]]
