"""Recordings and tokenizers that the tests of commands share with those of the families."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cosmos_lidar.cli import main
from cosmos_lidar.clips.video import write_mp4
from cosmos_lidar.clips.writers.release import write_release
from cosmos_lidar.models.tokenizer import build_tokenizer, export_safetensors
from cosmos_lidar.sensors import Sensor
from cosmos_lidar.viz.images import write_png
from tests.commands.lidargen_folder import make_folder
from tests.families.conftest import make_clip, small_sensor, tokenizer_folder
from tests.shards.conftest import clips

__all__ = ["clips", "make_clip", "small_sensor", "tokenizer_folder"]


def moving(frames: int, height: int = 34, width: int = 50) -> list[np.ndarray]:
    rows, columns = np.mgrid[:height, :width]
    return [np.stack([(rows * 5 + 4 * n) % 200, (columns * 4) % 220, np.full_like(rows, 90)], 2).astype(np.uint8)
            for n in range(frames)]  # fmt: skip


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    made = {}
    for name in ("CV4x8x8", "DV4x8x8", "CI8x8"):
        torch.manual_seed(0)
        made[name] = folder / f"{name}.safetensors"
        export_safetensors(build_tokenizer(name, channels=32, num_res_blocks=1), made[name])
    return made


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    write_mp4(folder / "one.mp4", moving(7), 10.0)
    write_mp4(folder / "two.mp4", moving(5, 40, 64), 25.0)
    write_png(folder / "still.png", moving(1)[0])
    return folder


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, small_sensor: Sensor, make_clip) -> Path:
    root = tmp_path_factory.mktemp("release")
    for clip_id in ("a1", "b2"):
        write_release(root, make_clip(small_sensor, 3, clip_id))
    return root


def with_a_damaged_clip(release: Path, out: Path) -> Path:
    """Copy drives and destroy the range maps of clip a1."""
    shutil.copytree(release, out)
    tar = out / "lidar" / "a1.tar"
    data = bytearray(tar.read_bytes())
    for at in range(512, len(data) - 512, 512):
        if data[at : at + 2] == b"PK":
            data[at : at + 60] = bytes(60)
    tar.write_bytes(data)
    return out


@pytest.fixture(scope="module")
def jit_pair(tokenizer_folder: Path) -> list[str]:
    encoder, decoder = tokenizer_folder / "small_enc.jit", tokenizer_folder / "small_dec.jit"
    return ["--enc_path", str(encoder), "--dec_path", str(decoder)]


FEW = "trainer.max_steps=2 trainer.val_every=0 trainer.val_at_start=false trainer.val_batches=1 log.tensorboard=false"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    options = [*FEW.split(), "trainer.export=false", "trainer.save_every=1", "trainer.keep_last=0", f"log.root={root}"]
    assert main(["train", "dit", "recipe=debug", *options]) == 0
    return next(root.rglob("config.yaml")).parent


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of :func:`make_folder`; tests add files of their own to it, and change none of these."""
    pytest.importorskip("nemo")
    folder = tmp_path_factory.mktemp("lidargen")
    make_folder(folder)
    return folder
