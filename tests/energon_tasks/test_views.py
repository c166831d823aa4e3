"""Frames with their images: from drives to shards to batches to training, and what cannot be used."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("nemo")

from cosmos_lidar.cli import main
from cosmos_lidar.clips import open_clips
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.lidargen.prepare import write_views
from cosmos_lidar.families.lidargen.views import FrameViews, lidar_image
from cosmos_lidar.models.tokenizer import build_tokenizer, export_safetensors, load_tokenizer
from cosmos_lidar.recipes import lidargen
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.views import read_facts
from cosmos_lidar.training.overrides import apply_overrides
from cosmos_lidar.training.run_log import read_metrics
from energon_tasks.views import views_loader

CAMERAS = ("camera_front_wide_120fov", "camera_rear_left_70fov")
CANVAS = ["model.canvas.views=2", "model.canvas.lidar=[8,16]", "model.canvas.image=[8,14]", "model.n_views=3",
          "data.latent_shape=[16,3,8,16]", "synthetic_clips=0"]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small drives, their frames, and tokenizers with random weights."""
    folder = tmp_path_factory.mktemp("views")
    (folder / "small.yaml").write_text(uniform_sensor(16, 256, name="small").to_yaml())
    size = ["--drives", "3", "--frames", "2", "--sensor", str(folder / "small.yaml")]
    assert main(["synth", str(folder / "drives"), *size, "--cameras", "front,left", "--width", "160"]) == 0
    words = ["--views", ",".join(CAMERAS), "--image-size", "64x112", "--split", "0.67,0.33"]
    assert main(["prepare", str(folder / "drives"), str(folder / "frames"), *words]) == 0
    torch.manual_seed(0)
    for name, family in (("lidar", "CI8x8"), ("image", "CV4x8x8")):
        export_safetensors(build_tokenizer(family, channels=32, num_res_blocks=1), folder / f"{name}.safetensors")
    return folder


def batches(folder: Path, **options: object) -> list:
    usual = {"step": 8, "batch_size": 1, "training": False, "rank": 0, "world_size": 1}
    return list(views_loader(folder, "val", **usual | options))


def test_batches_hold_what_was_recorded_at_one_time(made: Path):
    facts = json.loads((made / "frames" / "views.json").read_text())
    assert facts["samples"] == {"train": 4, "val": 2}
    assert facts["cameras"] == list(CAMERAS)
    ids = [name for names in facts["clips"].values() for name in names]
    assert facts["image_rule"]["asked"] == "frame_indices"
    assert sorted(facts["image_rule"]["clips"]["frame_indices"]) == sorted(ids)
    assert facts["image_rule"]["clips"]["nearest"] == []
    clip = next(clip for clip in open_clips(made / "drives") if clip.clip_id == facts["clips"]["val"][0])
    views = FrameViews(cameras=CAMERAS, image_size=(64, 112))
    for index, batch in enumerate(batches(made / "frames")):
        assert batch.lidar.shape == (1, 3, 64, 128)
        assert torch.allclose(batch.lidar, lidar_image(clip, index, 8), atol=5e-5)  # stored in steps of 2 mm
        wanted = views.images(clip, index)
        assert (batch.images[0] - wanted).abs().mean() < 0.02  # JPEG
        assert np.allclose(batch.rays[0], views.rays(clip, index), atol=2e-3)  # half precision
        assert len(batch.content[0]) == 64
    again = batches(made / "frames")
    assert [batch.content for batch in again] == [batch.content for batch in batches(made / "frames")]
    assert len({batch.content[0] for batch in again}) == 2


def train(made: Path, name: str, *more: str) -> list[tuple[str, str]]:
    tokenizers = [f"data.tokenizers.{kind}={made / kind}.safetensors" for kind in ("lidar", "image")]
    options = [*CANVAS, *tokenizers, f"data.path={made / 'frames'}", "trainer.max_steps=3", "trainer.val_every=0",
               "trainer.save_every=0", "log.tensorboard=false", "model.rays=true", "model.canvas.dense=true",
               f"log.root={made / 'runs'}", f"log.name={name}"]  # fmt: skip
    folder = lidargen.train(apply_overrides(lidargen.debug(), [*options, *more])).folder
    return [(row["step"], row["loss"]) for row in read_metrics(folder / "metrics.csv") if row["loss"]]


@pytest.mark.slow
def test_training_encodes_each_frame_once(made: Path):
    plain = train(made, "plain")
    cached = train(made, "cached", f"data.tokenizers.cache={made / 'cache'}")
    kept = sorted((made / "cache").rglob("*.safetensors"))
    assert 3 <= len(kept) <= 6  # of both splits; three steps of two of four frames train
    times = {file: file.stat().st_ino for file in kept}
    again = train(made, "again", f"data.tokenizers.cache={made / 'cache'}")
    assert plain == cached == again
    assert {file: file.stat().st_ino for file in (made / "cache").rglob("*.safetensors")} == times
    stats = made / "stats.pt"
    torch.save((torch.zeros(16), torch.full((16,), 2.0)), stats)
    train(made, "other", f"data.tokenizers.cache={made / 'cache'}", f"data.tokenizers.lidar_mean_std={stats}")
    assert len(list((made / "cache").rglob("*.safetensors"))) == 2 * len(kept)  # other means, other latents


def test_sizes_that_do_not_fit_and_half_a_pair(made: Path):
    with pytest.raises(UserError, match=r"model.canvas.image=\[8,12\] contradicts the data, which has \[8,14\]"):
        train(made, "wrong", "model.canvas.image=[8,12]")
    with pytest.raises(UserError, match="images, not latents: give data.tokenizers.lidar and data.tokenizers.image"):
        train(made, "half", "data.tokenizers.image=")
    assert load_tokenizer(made / "lidar.safetensors").config.family == "CI"


def changed(made: Path, to: Path, part: str, content: bytes | None) -> Path:
    """Copy a folder of frames with one part of the first validation sample changed, or left out."""
    import shutil

    from cosmos_lidar.shards.manifest import index_with_energon

    shutil.copytree(made / "frames", to, ignore=shutil.ignore_patterns(".nv-meta", "*.idx"))
    shard, first = to / "val-000000.tar", None
    with tarfile.open(made / "frames" / shard.name) as old, tarfile.open(shard, "w") as new:
        for member in old:
            data = old.extractfile(member).read()
            key, _, name = member.name.partition(".")
            first = first or key
            if key == first and name == part:
                if content is None:
                    continue
                data, member.size = content, len(content)
            import io

            new.addfile(member, io.BytesIO(data))
    index_with_energon(to, sorted(file.name for file in to.glob("*.tar")), sample_type="views")
    return to


@pytest.mark.parametrize(
    ("part", "content", "message"),
    [
        ("camera_rear_left_70fov.jpg", None, r"part missing \[key camera_rear_left_70fov.jpg\]"),
        (
            "camera_front_wide_120fov.jpg",
            b"no image",
            "not a readable image.*camera_front_wide_120fov.jpg.*a complete jpg or png",
        ),
        ("ranges.bin", b"broken", "ranges"),
        ("rays.npy", b"broken", "rays.npy"),
    ],
)
def test_a_wrong_part_is_named(made: Path, tmp_path: Path, part: str, content: bytes | None, message: str):
    folder = changed(made, tmp_path / "broken", part, content)
    with pytest.raises(UserError, match=message):
        batches(folder, bad_sample_budget=0.0)


def test_drives_that_do_not_go_together(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    clips = open_clips(made / "drives")
    views = FrameViews(cameras=CAMERAS, image_size=(64, 112))
    other = clips[0].with_lidar(sensor=uniform_sensor(16, 128))
    with pytest.raises(UserError, match="2 kinds of lidar among 3 clips"):
        write_views([other, *clips[1:]], views, tmp_path / "x", PrepareOptions())
    with pytest.raises(DataError, match="no camera rear"):
        write_views(clips, replace(views, cameras=("rear",)), tmp_path / "y", PrepareOptions(split=(0.5, 0.5, 0.0)))
    with pytest.raises(DataError, match="prepare --views"):
        read_facts(made / "drives")
    words = ["prepare", str(made / "drives"), str(tmp_path / "z"), "--views", "all"]
    assert main([*words, "--resume"]) == 2
    assert "--views excludes --resume and --videos" in capsys.readouterr().err
    lists = [tmp_path / "train.lst", tmp_path / "val.lst"]
    lists[0].write_text(f"{clips[2].clip_id}\n")
    lists[1].write_text(f"{clips[0].clip_id}\n")
    listed = ["--split-list", ",".join(map(str, lists)), "--image-size", "64x112"]
    assert main([*words[:2], str(tmp_path / "listed"), *words[3:], *listed]) == 0
    facts = json.loads((tmp_path / "listed" / "views.json").read_text())
    assert facts["clips"] == {"train": [clips[2].clip_id], "val": [clips[0].clip_id]}
    assert main([*words, "--image-size", "60x112"]) == 2
    assert "two multiples of 8" in capsys.readouterr().err
