"""A folder of small drives with cameras, tokenizers with random weights, and the latents of the drives."""

from __future__ import annotations

from pathlib import Path

import torch

from cosmos_lidar.cli import main
from cosmos_lidar.families.lidargen.encode import FrameEncoder
from cosmos_lidar.latents.space import open_space
from cosmos_lidar.models.tokenizer import build_tokenizer, export_safetensors, load_tokenizer
from cosmos_lidar.sensors import uniform_sensor


def command(*words: object) -> int:
    return main([str(word) for word in words])


def make_folder(folder: Path) -> None:
    """Make ``drives``, ``lidar.safetensors``, ``image.safetensors``, ``mean_std.pt`` and ``latents``."""
    torch.manual_seed(0)
    for name, family in (("lidar", "CI8x8"), ("image", "CV4x8x8")):
        export_safetensors(build_tokenizer(family, channels=32, num_res_blocks=1), folder / f"{name}.safetensors")
    (folder / "small.yaml").write_text(uniform_sensor(16, 256, name="small").to_yaml())
    size = ["--drives", 3, "--frames", 2, "--sensor", folder / "small.yaml"]
    assert command("synth", folder / "drives", *size, "--cameras", "front,left", "--width", 160) == 0
    stats = ["latents-stats", folder / "drives", "--checkpoint", folder / "lidar.safetensors"]
    assert command(*stats, "--out", folder / "mean_std.pt") == 0
    words = [*tokenizers(folder), "--image-size", "64x112", "--split", "0.67,0.33", "--samples-per-shard", 3]
    assert command("encode-views", folder / "drives", folder / "latents", *words) == 0


def tokenizers(folder: Path) -> list[object]:
    return ["--lidar-tokenizer", folder / "lidar.safetensors", "--image-tokenizer", folder / "image.safetensors",
            "--lidar-mean-std", folder / "mean_std.pt"]  # fmt: skip


def encoder(folder: Path, **changed: object) -> FrameEncoder:
    spaces = [open_space(load_tokenizer(folder / f"{name}.safetensors"), None) for name in ("lidar", "image")]
    cameras = ("camera_front_wide_120fov", "camera_rear_left_70fov")
    usual = {"lidar": spaces[0], "image": spaces[1], "cameras": cameras, "image_size": (64, 112)}
    return FrameEncoder(**usual | changed)
