"""Mean and spread of latents: by the formula, from the command line, and read back as the published file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cosmos_lidar.cli import main
from cosmos_lidar.models.tokenizer import build_tokenizer, export_safetensors, load_mean_std, load_tokenizer
from cosmos_lidar.sensors import prepare_range_map, uniform_sensor
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.prepare import prepare_shards
from cosmos_lidar.synth import synthesize_drive
from cosmos_lidar.viz.images import write_png


def test_lidar_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture):
    torch.manual_seed(0)
    network = build_tokenizer("CI8x8", channels=32, num_res_blocks=1)
    export_safetensors(network, tmp_path / "t.safetensors")
    clip = synthesize_drive(1, uniform_sensor(16, 140, name="small"), frames=3)
    prepare_shards([clip], tmp_path / "shards", PrepareOptions(split=(1.0,)))
    words = ["latents-stats", str(tmp_path / "shards"), "--checkpoint", str(tmp_path / "t.safetensors")]
    assert main([*words, "--out", str(tmp_path / "mean_std.pt"), "--every", "2"]) == 0
    assert "16 channels, 2 frames" in capsys.readouterr().out
    mean, std = load_mean_std(tmp_path / "mean_std.pt")
    network = load_tokenizer(tmp_path / "t.safetensors").eval()
    images = [prepare_range_map(clip.range_map(index), clip.sensor.format) for index in (0, 2)]
    spare = images[0].shape[-1] % 8
    x = torch.from_numpy(np.stack(images))[..., spare // 2 : images[0].shape[-1] - (spare - spare // 2)]
    with torch.no_grad():
        z = network.encode(x).double().transpose(0, 1).flatten(1)
    assert torch.allclose(mean, z.mean(1).float(), atol=2e-3)  # shards keep ranges to the millimeter
    assert torch.allclose(std, z.std(1, correction=0).float(), atol=2e-3)
    with pytest.raises(SystemExit) as ended:
        main([*words, "--out", str(tmp_path / "x.pt"), "--every", "0"])
    assert ended.value.code == 2


def test_images_from_the_command_line(tmp_path: Path):
    torch.manual_seed(0)
    network = build_tokenizer("CV4x8x8", channels=32, num_res_blocks=1)
    export_safetensors(network, tmp_path / "t.safetensors")
    frames = np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3), dtype=np.uint8)
    for number, frame in enumerate(frames):
        write_png(tmp_path / "p" / f"{number}.png", frame)
    words = ["latents-stats", str(tmp_path / "p"), "--pictures", "--checkpoint", str(tmp_path / "t.safetensors")]
    assert main([*words, "--out", str(tmp_path / "mean_std.pt")]) == 0
    (tmp_path / "p" / "00.png").write_bytes(b"no image")
    assert main([*words, "--out", str(tmp_path / "again.pt")]) == 0
    assert all(map(torch.equal, load_mean_std(tmp_path / "again.pt"), load_mean_std(tmp_path / "mean_std.pt")))
    mean, std = load_mean_std(tmp_path / "mean_std.pt")
    x = torch.from_numpy(frames).permute(0, 3, 1, 2).float()[:, :, None] / 255 * 2 - 1
    with torch.no_grad():
        z = network.eval().encode(x).double().transpose(0, 1).flatten(1)
    assert torch.allclose(mean, z.mean(1).float(), atol=1e-5)
    assert torch.allclose(std, z.std(1, correction=0).float(), atol=1e-5)
