"""Small stand-ins for the files that the documentation's command lines name."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch

from cosmos_lidar.cli import main
from cosmos_lidar.clips import open_clips
from cosmos_lidar.launch.printed import text_of
from cosmos_lidar.models.sparse import build_backbone
from cosmos_lidar.models.sparse.export import write_backbone
from cosmos_lidar.models.tokenizer import build_tokenizer, export_jit, export_safetensors
from cosmos_lidar.recipes import lidargen
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.training.overrides import apply_overrides
from cosmos_lidar.viz.images import write_png
from tests.clips.readers.test_kitti import odometry
from tests.clips.readers.test_multiview import write_sample
from tests.models.tiny_t5 import write_tiny_t5
from tests.sensors.fit.conftest import measured, small_lidar

DRIVES = ("PATH", "SRC", "recordings", "datasets/lidar_dataset_release")


def command(text: str) -> None:
    """Run a command of the command line, which has to succeed."""
    assert main(text.split()) == 0, text


def make_stand_ins(folder: Path) -> None:
    """Make drives, shards, tokenizers, latents, runs and checkpoints in ``folder``, the current one."""
    for name in ("checkpoints", "datasets"):
        (folder / name).mkdir()
    for name in ("small", "my_lidar"):
        (folder / f"{name}.yaml").write_text(uniform_sensor(16, 256, name="small").to_yaml())
    (folder / "cluster.yaml").write_text(text_of("example"))
    size = "--drives 2 --frames 1 --sensor small.yaml --second-lidar small.yaml --width 160"
    command(f"synth drives {size} --cameras front,left,right")
    for name in DRIVES:
        (folder / name).symlink_to(folder / "drives")
    shutil.copy(next((folder / "drives" / "lidar").glob("*.tar")), folder / "X.tar")
    odometry(folder / "kitti_drives")
    (first,) = (folder / "kitti_drives" / "sequences").iterdir()
    shutil.copytree(first, first.with_name("99"))
    shutil.copy(folder / "kitti_drives" / "poses" / f"{first.name}.txt", folder / "kitti_drives" / "poses" / "99.txt")
    (folder / "scans").mkdir()
    points = measured(small_lidar(), "rows").points
    np.concatenate([points, np.ones_like(points[:, :1])], 1).tofile(folder / "scans" / "000000.bin")
    _make_tokenizers(folder)
    command("prepare drives shards --split 0.5,0.5,0 --frames-per-sample 1")
    _make_image_features(folder)
    command("prepare drives points_shards --task points --image-features features --split 0.5,0.5,0")
    command("prepare drives video_shards --videos --split 0.5,0.5,0")
    write_tiny_t5(folder / "t5")
    write_sample(folder / "datasets" / "waymo", frames=5, clips=("a", "b", "c"))
    command("prepare datasets/waymo multiview_shards --task multiview --split 0.5,0.5,0")
    for name in ("waymo", "kitti"):
        (folder / name).symlink_to(folder / "shards")
    (folder / "videos").mkdir()
    for number, path in enumerate(sorted((folder / "drives").rglob("*.mp4"))[:2]):
        shutil.copy(path, folder / "videos" / f"{number}.mp4")
    tokenizers = "--lidar-tokenizer lidar.pt --image-tokenizer video.pt --image-size 64x112"
    alignment = "--alignment pretrained_backbone_also_nuscenes.ckpt --alignment-recipe nuscenes"
    command(f"encode-views drives latents {tokenizers} {alignment} --split 0.5,0.5,0")
    shutil.copy(folder / "latents" / "rig.yaml", folder / "rig.yaml")
    command("prepare drives frames --views all --image-size 64x112 --split 0.5,0.5,0")
    for name in ("front", "left", "right"):
        write_png(folder / f"{name}.jpg", torch.zeros(90, 160, 3, dtype=torch.uint8).numpy())
    _make_runs(folder)


def _make_image_features(folder: Path) -> None:
    for clip in open_clips(folder / "drives"):
        for name, camera in clip.cameras.items():
            files = folder / "features" / clip.clip_id / name
            files.mkdir(parents=True)
            for index in range(len(camera)):
                np.save(files / f"{index:06d}.npy", np.ones((4, 7, 8), np.float16))


def _make_tokenizers(folder: Path) -> None:
    torch.manual_seed(0)
    for family, names in (
        ("CI8x8", ("lidar.pt", "lidar.jit", "lidar2.jit")),
        ("CV8x8x8", ("video.pt", "image.jit", "CKPT")),
    ):
        network = build_tokenizer(family, channels=32, num_res_blocks=1)
        encoder, decoder, whole = export_jit(network, folder / family, "x")
        encoder.rename(folder / family / "encoder.jit")
        decoder.rename(folder / family / "decoder.jit")
        for name in names:
            shutil.copy(whole, folder / name)
    for name in ("lidar", "Cosmos-Tokenizer-CI8x8-Lidar"):
        (folder / "checkpoints" / name).symlink_to(folder / "CI8x8")
    for name in ("encoder", "decoder"):
        shutil.copy(folder / "CI8x8" / f"{name}.jit", folder / f"{name}.jit")
    (folder / "nvidia").mkdir()
    (folder / "nvidia" / "Cosmos-1.0-Tokenizer-CV8x8x8").symlink_to(folder / "CV8x8x8")
    export_safetensors(network, folder / "video.safetensors")
    second = build_backbone("second", in_channels=4, out_channels=0).state_dict()
    for name in ("pretrained_backbone_also_kitti3d_second_epoch_499.ckpt", "FILE"):
        torch.save(second, folder / name)
    narrow = build_backbone("minkunet34", in_channels=1, out_channels=0, width=2).state_dict()
    torch.save(narrow, folder / "pretrained_backbone_also_nuscenes.ckpt")
    segmented = build_backbone("minkunet18sc", in_channels=4, out_channels=20, width=2)
    write_backbone(segmented, folder / "semseg.safetensors", "segmentation", classifier=True)
    for name in ("lidar", "image"):
        torch.save((torch.zeros(16), torch.ones(16)), folder / f"{name}_mean_std.pt")


def _make_runs(folder: Path) -> None:
    few = "trainer.val_every=0 trainer.val_at_start=false log.tensorboard=false"
    command(
        f"train dit recipe=debug trainer.max_steps=30 trainer.save_every=15 trainer.keep_last=0 {few} log.root=dit_runs"
    )
    (folder / "checkpoints" / "dit_runs").symlink_to(folder / "dit_runs")
    (folder / "RUN").symlink_to(next((folder / "dit_runs").rglob("config.yaml")).parent)
    (folder / "CHECKPOINT").symlink_to(folder / "RUN" / "checkpoints" / "iter_000000030")
    options = [
        f"data.path={folder / 'latents'}",
        "trainer.max_steps=1",
        "trainer.save_every=0",
        "log.root=lidargen_runs",
    ]
    made = lidargen.train(apply_overrides(lidargen.debug(), [*options, *few.split()])).folder
    shutil.copy(made / "checkpoints" / "iter_000000001_ema_model.pt", folder / "model.pt")
    shutil.copy(made / "config.yaml", folder / "config.yaml")
