"""Latents of drives are those of the tokenizers; frames without images are named; what changed is encoded again."""

from __future__ import annotations

import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("nemo")

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.video import write_mp4
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import file_sha256
from cosmos_lidar.models.sparse import build_backbone
from cosmos_lidar.models.sparse.export import write_backbone
from cosmos_lidar.models.tokenizer import build_tokenizer, export_safetensors
from energon_tasks.latents import latents_loader
from tests.commands.lidargen_folder import command, encoder, tokenizers


def test_latents_are_those_of_the_tokenizers(made: Path):
    facts = json.loads((made / "latents" / "latents.json").read_text())
    assert facts["canvas"] == {"views": 2, "lidar": [8, 16], "image": [8, 14]}
    assert facts["samples"] == {"train": 4, "val": 2}
    assert facts["latent_shape"] == [16, 3, 8, 16]
    assert facts["image_rule"]["asked"] == "frame_indices"
    assert len(facts["image_rule"]["clips"]["frame_indices"]) == 3
    loader = latents_loader(made / "latents", "val", batch_size=1, training=False, rank=0, world_size=1)
    batches = list(loader)
    assert [batch.latents.shape for batch in batches] == [(1, 16, 3, 8, 16)] * 2
    clip = next(clip for clip in open_clips(made / "drives") if clip.clip_id == batches[0].clip_ids[0])
    mean, std = torch.load(made / "mean_std.pt", weights_only=True)
    expected = encoder(made)(clip, 0)
    lidar = (expected[:, 0, :8, :16] - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)
    assert torch.allclose(batches[0].latents[0, :, 0, :8, :16], lidar, atol=2e-2)  # half precision
    assert torch.allclose(batches[0].latents[0, :, 1:, :8, :14], expected[:, 1:, :8, :14], atol=2e-3)
    assert batches[0].latents[0, :, 1:, :, 14:].abs().sum() == 0


def test_images_too_far_away_in_time_are_named_and_counted(made: Path, capsys):
    clip = open_clips(made / "drives")[0]
    late = {
        name: replace(stream, timestamps_us=stream.timestamps_us + 500_000) for name, stream in clip.cameras.items()
    }
    with pytest.raises(DataError, match=r"camera_front_wide_120fov: nearest of 2 images 0\.\d+ s away.*0.06 s"):
        encoder(made, image_rule="nearest")(replace(clip, cameras=late), 0)
    with pytest.raises(DataError, match="no camera side.*camera_front_wide_120fov, camera_rear_left_70fov"):
        encoder(made, cameras=("side",))(clip, 0)
    words = ["encode-views", made / "drives", made / "none", *tokenizers(made), "--image-size", "64x112"]
    assert command(*words, "--image-rule", "nearest", "--tolerance", "0.0001") == 2
    assert "nearest of 2 images" in capsys.readouterr().err
    assert command(*words, "--image-size", "60x112") == 2
    assert "multiples of 8" in capsys.readouterr().err
    discrete = made / "discrete.safetensors"
    export_safetensors(build_tokenizer("DI8x8", channels=32, num_res_blocks=1), discrete)
    assert command(*words, "--image-tokenizer", discrete) == 2
    assert "gives indices" in capsys.readouterr().err


def test_a_mirror_doubles_what_is_trained_on(made: Path):
    words = [*tokenizers(made), "--image-size", "64x112", "--split", "0.67,0.33", "--mirror"]
    assert command("encode-views", made / "drives", made / "mirrored", *words) == 0
    facts = json.loads((made / "mirrored" / "latents.json").read_text())
    assert facts["samples"] == {"train": 8, "val": 2}
    usual = {"batch_size": 1, "training": False, "rank": 0, "world_size": 1}
    as_it_is, again, mirrored = (
        list(latents_loader(made / folder, "train", **usual)) for folder in ("latents", "mirrored", "mirrored")
    )
    of_mirror = [batch for batch in mirrored if batch.__key__[0].endswith("_mirrored")]
    plain = [batch for batch in again if not batch.__key__[0].endswith("_mirrored")]
    assert [batch.__key__ for batch in plain] == [batch.__key__ for batch in as_it_is]
    assert all(torch.equal(a.latents, b.latents) for a, b in zip(plain, as_it_is, strict=True))
    clip = next(clip for clip in open_clips(made / "drives") if clip.clip_id == of_mirror[0].clip_ids[0])
    own = encoder(made)
    flipped = own.image.encode(own.images(clip, 0).flip(-1))
    assert torch.allclose(of_mirror[0].latents[0, :, 1:, :8, :14], flipped.transpose(0, 1), atol=2e-3)
    assert not torch.allclose(of_mirror[0].rays, plain[0].rays, atol=0.1)


def test_only_what_changed_is_encoded_again(made: Path, tmp_path: Path, caplog, capsys):
    """An image, then the means of the latents; other options, or a folder of something else, are refused."""
    drives, out = tmp_path / "drives", tmp_path / "latents"
    shutil.copytree(made / "drives", drives)
    files = {}
    for name in ("lidar.safetensors", "mean_std.pt"):
        files[name] = shutil.copy(made / name, tmp_path / name)
    own = ["--lidar-tokenizer", files["lidar.safetensors"], "--lidar-mean-std", files["mean_std.pt"]]
    words = ["encode-views", drives, out, *tokenizers(made), *own, "--image-size", "64x112", "--split", "0.67,0.33",
             "--samples-per-shard", 2]  # fmt: skip
    assert command(*words) == 0
    before, shown = shards(out), capsys.readouterr().out
    assert command(*words) == 0
    assert shards(out) == before
    assert capsys.readouterr().out == shown
    clip = open_clips(drives)[0]
    images = [clip.cameras["camera_rear_left_70fov"].read(0)] * 2
    write_mp4(next(drives.glob(f"*rear_left*/{clip.clip_id}.mp4")), images, 10)
    assert command(*words) == 0
    after = shards(out)
    assert "have changed: writing it again" in caplog.text
    assert [before[name] == after[name] for name in before] == [
        clip.clip_id not in keys_of(out / name) for name in before
    ]
    assert before != after
    torch.save((torch.zeros(16), torch.full((16,), 2.0)), files["mean_std.pt"])
    assert command(*words) == 0
    assert not set(shards(out).values()) & set(after.values())
    facts = json.loads((out / "latents.json").read_text())
    assert facts["samples"] == {"train": 4, "val": 2}
    capsys.readouterr()
    assert command(*words, "--every", 2) == 2
    assert "other clips or other options" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    assert command(*words[:2], tmp_path / "mine", *words[3:]) == 2
    assert "the folder is not empty" in capsys.readouterr().err


def shards(folder: Path) -> dict[str, str]:
    return {path.name: file_sha256(path) for path in sorted(folder.glob("*.tar"))}


def keys_of(shard: Path) -> str:
    with tarfile.open(shard) as tar:
        return " ".join(tar.getnames())


def test_features_of_a_backbone_for_alignment(made: Path, tmp_path: Path, capsys):
    backbone = tmp_path / "backbone" / "iter_000000001_backbone.safetensors"
    backbone.parent.mkdir()
    write_backbone(build_backbone("minkunet18", 3, 0, width=2), backbone, "segmentation")
    words = [*tokenizers(made), "--image-size", "64x112", "--split", "0.67,0.33", "--alignment", backbone]
    assert command("encode-views", made / "drives", tmp_path / "a", *words) == 2
    assert "config.yaml is not there: give --alignment-recipe, such as --alignment-recipe nuscenes" in (
        capsys.readouterr().err
    )
    backbone.with_name("config.yaml").write_text(
        "family: also_pretrain\nmodel:\n  backbone: MinkUNet18\n  width: 2\n  inputs: [pos]\n  voxel_size: 2.0\n"
    )
    assert command("encode-views", made / "drives", tmp_path / "a", *words) == 0
    facts, before = (json.loads((folder / "latents.json").read_text()) for folder in (tmp_path / "a", made / "latents"))
    assert facts["alignment"] == {"backbone": "minkunet18", "channels": 6, "tokens": [4, 8]}
    assert len(facts["alignment_weights"]) == 64
    assert not {"alignment", "alignment_weights"} & set(before)
    usual = {"batch_size": 1, "training": False, "rank": 0, "world_size": 1}
    plain = list(latents_loader(made / "latents", "val", **usual))
    with_features = list(latents_loader(tmp_path / "a", "val", alignment=True, **usual))
    for one, other in zip(plain, with_features, strict=True):
        assert torch.equal(one.latents, other.latents)
        assert one.alignment is None
        assert other.alignment.shape == (1, 4, 8, 6)
        assert (other.alignment.abs().amax(-1) > 0).float().mean() > 0.3
    assert command("encode-views", made / "drives", tmp_path / "b", *words[:-2], "--alignment-recipe", "debug") == 2
    assert "--alignment-recipe needs --alignment" in capsys.readouterr().err
