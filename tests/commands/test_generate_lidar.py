"""From drives to latents to a trained network to sweeps, on the real command lines; and what cannot be."""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

pytest.importorskip("nemo")

from cosmos_lidar import weights
from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.video import write_mp4
from cosmos_lidar.commands.generate_lidar import _lidar
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.lidargen.generate import OutputOptions, generate_clips, open_generator
from cosmos_lidar.families.lidargen.generator import LidarGenerator, SamplingOptions, open_denoiser
from cosmos_lidar.families.lidargen.inputs import frames_of_clips
from cosmos_lidar.latents.space import open_space
from cosmos_lidar.models.sparse import build_backbone
from cosmos_lidar.models.sparse.export import write_backbone
from cosmos_lidar.models.tokenizer import build_tokenizer, load_tokenizer
from cosmos_lidar.recipes import lidargen
from cosmos_lidar.sensors import Sensor, uniform_sensor
from cosmos_lidar.sensors.range_image import cut_image
from cosmos_lidar.sensors.sensor import RangeMapFormat
from cosmos_lidar.training.overrides import apply_overrides
from cosmos_lidar.viz.images import write_png
from cosmos_lidar.viz.point_files import read_ply
from tests.commands.lidargen_folder import command, encoder, tokenizers
from tests.workers.client import python, torchrun

CANVAS = ["model.canvas.views=2", "model.canvas.lidar=[8,16]", "model.canvas.image=[8,14]", "model.n_views=3",
          "data.latent_shape=[16,3,8,16]"]  # fmt: skip


def backbone_file(folder: Path) -> Path:
    """Return a small sparse backbone with its configuration beside it."""
    path = folder / "backbone" / "backbone.safetensors"
    torch.manual_seed(0)
    write_backbone(build_backbone("minkunet18", 3, 0, width=2), path, "segmentation")
    path.with_name("config.yaml").write_text("model: {backbone: MinkUNet18, inputs: [pos], voxel_size: 2.0, width: 2}")
    return path


@pytest.fixture(scope="module")
def checkpoint(made: Path) -> Path:
    options = [f"data.path={made / 'latents'}", "trainer.max_steps=10", "trainer.val_every=0",
               "trainer.save_every=0", "log.tensorboard=false", f"log.root={made / 'runs'}"]  # fmt: skip
    folder = lidargen.train(apply_overrides(lidargen.debug(), options)).folder
    run = lidargen.FAMILY.load(folder / "config.yaml")  # records what the data determined
    assert (run.model.canvas.views, run.model.canvas.lidar, run.model.canvas.image) == (2, [8, 16], [8, 14])
    assert (run.model.n_views, run.data.latent_shape) == (3, [16, 3, 8, 16])
    return folder / "checkpoints" / "iter_000000010_ema_model.pt"


def test_sweeps_from_recordings_and_from_ones_own_images(made: Path, checkpoint: Path, capsys):
    words = ["generate-lidar", "--checkpoint", checkpoint, *tokenizers(made), "--ddim_iters", 2]
    out, backbone = made / "out", backbone_file(made)
    measured = ["--save_dir", out, "--max_frames", 1, "--feature_checkpoint", backbone]
    assert command(*words, "--data", made / "drives", *measured) == 0
    assert "frechet_backbone_distance" in capsys.readouterr().out
    names = sorted(path.stem for path in out.glob("*.npz"))
    assert len(names) == 3
    with np.load(out / f"{names[0]}.npz") as file:
        range_m, points = file["range_m"], file["points"]
    assert range_m.shape == (16, 128)
    assert len(points) == (range_m > 0).sum()
    for rule in ("frame_indices", "nearest"):
        near = ["--image_rule", rule, "--vis", 0, "--clip", open_clips(made / "drives")[0].clip_id, "--max_frames", 1]
        assert command(*words, "--data", made / "drives", "--save_dir", made / rule, *near) == 0
        with np.load(next((made / rule).glob("*.npz"))) as file:
            assert str(file["image_rule"]) == rule
            assert file["image_numbers"].tolist() == [0, 0]  # of one image per sweep
    assert "images by frame_indices" in (out / "report.html").read_text()
    assert np.allclose(np.sort(np.linalg.norm(points, axis=1)), np.sort(range_m[range_m > 0]), rtol=1e-4)
    assert len(read_ply(out / f"{names[0]}.ply").points) == len(points)
    assert (out / f"{names[0]}.png").is_file()
    rows = {row["name"]: row for row in json.loads((out / "metrics.json").read_text())["rows"]}
    assert {"chamfer_mean_m", "jsd", "mmd", "ray_drop_f1"} < rows.keys()
    assert rows["frechet_range_distance"]["value"] > 0
    assert rows["frechet_backbone_distance"]["value"] > 0
    assert rows["frechet_backbone_distance"]["n"] == 3
    stream = open_clips(made / "drives")[0].cameras
    images = []
    for number, camera in enumerate(("camera_front_wide_120fov", "camera_rear_left_70fov")):
        images.append(made / f"view_{number}.png")
        write_png(images[-1], stream[camera].read(0))
    own = ["--images", *images, "--sensor", made / "small.yaml"]
    assert command(*words, *own, "--feature_checkpoint", backbone) == 2
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        assert command(*words, *own, "--save_dir", made / name, "--seed", seed) == 0
    maps = [np.load(made / name / "sample.npz")["range_m"] for name in "abc"]
    assert np.array_equal(maps[0], maps[1])
    assert not np.array_equal(maps[0], maps[2])


def test_python_generates_what_the_command_does(made: Path, checkpoint: Path):
    words = ["generate-lidar", "--checkpoint", checkpoint, *tokenizers(made), "--ddim_iters", 2, "--vis", 0]
    assert command(*words, "--data", made / "drives", "--save_dir", made / "cli", "--max_frames", 1, "--seed", 5) == 0
    files = {f"{name}_tokenizer": made / f"{name}.safetensors" for name in ("lidar", "image")}
    clips = open_clips(made / "drives")
    generator = open_generator(
        checkpoint, clips[0].sensor, **files, lidar_mean_std=made / "mean_std.pt", options=SamplingOptions(steps=2)
    )
    frames = generate_clips(clips, generator, made / "api", frames_per_clip=1, output=OutputOptions(seed=5))
    assert len(frames) == len(clips) == 3
    for frame in frames:
        one, other = (np.load(made / folder / f"{frame.name}.npz") for folder in ("cli", "api"))
        assert np.array_equal(one["range_m"], other["range_m"])
        assert np.array_equal(one["points"], other["points"])
    assert not list((made / "api").glob("*.png"))
    with pytest.raises(UserError, match="an image of every -1 sweeps"):
        OutputOptions(image_every=-1)


@pytest.fixture(scope="module")
def ray_checkpoint(made: Path) -> Path:
    model = ["model.rays=true", "model.objective=flow", "model.text=false", "model.canvas.dense=true"]
    options = [*CANVAS, *model,
               f"data.path={made / 'latents'}", "synthetic_clips=0", "trainer.max_steps=3", "trainer.val_every=3",
               "trainer.save_every=0", "log.tensorboard=false", "log.name=rays",
               f"log.root={made / 'runs'}"]  # fmt: skip
    folder = lidargen.train(apply_overrides(lidargen.debug(), options)).folder
    return folder / "checkpoints" / "iter_000000003_ema_model.pt"


def test_along_rays_from_a_page_of_recordings_to_images_with_a_calibration(made: Path, ray_checkpoint: Path, capsys):
    words = ["generate-lidar", "--checkpoint", ray_checkpoint, *tokenizers(made), "--steps", 2, "--sampler", "dpm++2m",
             "--schedule", "flow"]  # fmt: skip
    data = ["--data", made / "drives", "--max_frames", 1, "--clip", open_clips(made / "drives")[1].clip_id]
    out = made / "along_rays"
    assert command(*words, *data, "--save_dir", out, "--filter_outlier") == 0
    (file,) = out.glob("*.npz")
    assert len(np.load(file)["points"]) < (np.load(file)["range_m"] > 0).sum()
    page = (out / "report.html").read_text()
    assert "chamfer" in page
    assert "Recorded" in page
    assert page.count("data:image/png") == 1
    edges = ["--filter_edges", 1.05, "--vis", 0]
    assert command(*words, *data, *edges, "--save_dir", made / "edges") == 0
    (sharp,) = (made / "edges").glob("*.npz")
    assert (np.load(sharp)["range_m"] > 0).sum() < (np.load(file)["range_m"] > 0).sum()
    assert command(*words, *data, "--filter_edges", 0.5) == 2
    assert "edges at a ratio of 0.5" in capsys.readouterr().err
    one = ["--cameras", "camera_rear_left_70fov", "--condition_sigma", 0.01, "--vis", 0]
    assert command(*words, *data, *one, "--save_dir", made / "one") == 0
    assert command(*words, *data, *one[:3], 0, "--save_dir", made / "one") == 2
    assert "noise of 0.0 on the images" in capsys.readouterr().err
    assert not list((made / "one").glob("*.png"))
    stream = open_clips(made / "drives")[0].cameras
    images = [made / f"ray_view_{number}.png" for number in range(2)]
    for path, camera in zip(images, ("camera_front_wide_120fov", "camera_rear_left_70fov"), strict=True):
        write_png(path, stream[camera].read(0))
    own = ["--images", *images, "--sensor", made / "small.yaml"]
    rig = ["--calibration", made / "latents" / "rig.yaml"]
    assert command(*words, *own, *rig, "--save_dir", made / "own") == 0
    assert (made / "own" / "sample.png").is_file()
    assert "Generated" in (made / "own" / "report.html").read_text()
    capsys.readouterr()
    assert command(*words, *own, *rig, "--dryrun", "--save_dir", made / "dry") == 0
    assert "dpm++2m, 2 steps, 3 evaluations" in capsys.readouterr().out
    assert not (made / "dry").exists()
    assert command(*words, *own) == 2
    assert "ray-conditioned: camera calibration is required" in capsys.readouterr().err
    assert command(*words, "--images", images[0], *own[3:], *rig) == 2
    assert "2 cameras for 1 images" in capsys.readouterr().err
    write_png(images[0], np.zeros((64, 112, 3), np.uint8))
    assert command(*words, *own, *rig) == 2
    assert "an image of 112 x 64" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("together", [1, 2])
def test_two_processes_make_the_sweeps_of_one(made: Path, ray_checkpoint: Path, together: int):
    """Each its own sweeps, or both the tokens of each."""
    words = ["generate-lidar", "--checkpoint", ray_checkpoint, *tokenizers(made), "--steps", 2, "--vis", 0,
             "--data", made / "drives"]  # fmt: skip
    assert command(*words, "--save_dir", made / "alone") == 0
    shared = [*words, "--save_dir", made / f"shared_{together}", "--context_parallel_size", together]
    done = torchrun(2, "-m", "cosmos_lidar", *shared)
    assert done.returncode == 0, done.stderr[-2000:]
    folders = [made / "alone", made / f"shared_{together}"]
    alone, shared = (sorted(folder.glob("*.npz")) for folder in folders)
    assert len(alone) == 6
    assert [path.name for path in alone] == [path.name for path in shared]
    for one, other in zip(alone, shared, strict=True):
        assert np.allclose(np.load(one)["range_m"], np.load(other)["range_m"], atol=1e-3)
    rows = [json.loads((folder / "metrics.json").read_text())["rows"] for folder in folders]
    for one, other in zip(*rows, strict=True):
        assert one["value"] == pytest.approx(other["value"], rel=1e-3)


@pytest.mark.slow
def test_the_benchmark_of_quality(made: Path, ray_checkpoint: Path):
    """On its own command line; a mean range map that is the recording's, or numbers that do not differ, would show."""
    program = Path(__file__).parents[2] / "benchmarks" / "lidargen_quality.py"
    words = [
        program,
        made / "drives",
        made / "latents",
        "--checkpoint",
        ray_checkpoint,
        *tokenizers(made),
        "--image-mean-std",
        made / "mean_std.pt",
        "--settings",
        "ddim:1:flow:0.01",
        "--out",
        made / "quality.json",
    ]
    done = python(*words)
    assert done.returncode == 0, done.stderr[-2000:]
    document = json.loads((made / "quality.json").read_text())
    assert [document["where"][part] for part in ("train", "choosing", "val")] == [4, 0, 2]
    assert len(document["results"]) == 8
    assert document["results"]["mean range map"]["chamfer_m against retrieval"]["value"] != 0
    values = [row["chamfer_mean_m"]["value"] for row in document["results"].values()]
    assert all(value > 0 for value in values)
    assert len(set(values)) >= 5
    assert done.stdout.count("\n|") == 9


def test_cameras_without_calibration_make_sweeps_without_overlays(made: Path, checkpoint: Path, ray_checkpoint: Path):
    clip = open_clips(made / "drives")[0]
    bare = replace(clip, cameras={name: replace(stream, model=None) for name, stream in clip.cameras.items()})
    device = torch.device("cpu")
    spaces = {name: open_space(load_tokenizer(made / f"{name}.safetensors"), None) for name in ("lidar", "image")}
    for file, wants in ((checkpoint, False), (ray_checkpoint, True)):
        denoiser = open_denoiser(file, None, device, torch.float32)
        generator = LidarGenerator(denoiser, **spaces, sensor=clip.sensor, options=SamplingOptions(1))
        (frame,) = frames_of_clips([bare], encoder(made), generator, 1)
        assert frame.views(np.zeros((1, 3))) == []
        if not wants:
            assert frame.rays() is None
            continue
        with pytest.raises(DataError, match=f"no calibration.*clip {clip.clip_id}.*ray-conditioned"):
            frame.rays()


def test_the_lidar_of_a_model_folder_is_its_own_where_none_is_named(tmp_path: Path) -> None:
    given = argparse.Namespace(checkpoint=weights.find("small-lidargen") / weights.FILE, sensor=None)
    own = _lidar(given)
    assert isinstance(own, Sensor)
    assert (own.name, own.shape, own.format.repeat_rows) == ("small32", (32, 256), 2)
    assert _lidar(argparse.Namespace(checkpoint=given.checkpoint, sensor="pandar128")) == "pandar128"
    with pytest.raises(UserError, match="--images needs --sensor"):
        _lidar(argparse.Namespace(checkpoint=tmp_path / "model.pt", sensor=None))


def test_what_cannot_be_generated(made: Path, checkpoint: Path, capsys):
    words = ["generate-lidar", "--checkpoint", checkpoint, *tokenizers(made), "--save_dir", made / "x"]
    write = made / "one.png"
    write_png(write, np.zeros((64, 112, 3), np.uint8))
    small = ["--sensor", made / "small.yaml"]
    wrong = {
        "give --images": [*words],
        "--images needs --sensor": [*words, "--images", write],
        "a network for 2 views": [*words, "--images", write, *small],
        "no such file": [*words[:2], made / "missing.pt", *words[3:], "--data", made / "drives"],
        "no camera rear": [*words, "--data", made / "drives", "--cameras", "camera_front_wide_120fov,rear"],
        "sensor uniform64": [*words, "--images", write, write, "--sensor", "uniform64"],
        "2 processes for each piece of work, of 1": [*words, "--data", made / "drives", "--context_parallel_size", 2],
        "--experiment other: valid: text2world": [*words, "--data", made / "drives", "--experiment", "other"],
        "unknown option 'model.nname'": [*words, "--data", made / "drives", "--", "model.nname=faditv2_7b"],
    }  # fmt: skip
    for message, line in wrong.items():
        assert command(*line) == 2, message
        assert message in capsys.readouterr().err
    other = torch.load(checkpoint, weights_only=True)
    other["net.view_embeddings.weight"] = torch.zeros(7, 5)
    torch.save(other, made / "other.pt")
    config = ["--config", checkpoint.with_name("config.yaml")]
    assert command(*words[:2], made / "other.pt", *words[3:], *config, "--data", made / "drives") == 2
    error = capsys.readouterr().err
    assert "shape (7, 5) instead of" in error
    assert "view_embeddings.weight" in error


def test_a_checkpoint_without_its_configuration(made: Path, checkpoint: Path, capsys):
    """Variant, options, and the words of the published command say which network it is."""
    bare = made / "bare" / "model.pt"
    bare.parent.mkdir()
    shutil.copy(checkpoint, bare)
    words = ["generate-lidar", "--checkpoint", bare, *tokenizers(made), "--data", made / "drives", "--dryrun",
             "--config", "cosmos_predict1/diffusion/training/config/config_lidar.py"]  # fmt: skip
    network = [word for word in CANVAS if word.startswith("model.")]
    for named in (["--experiment", "debug", "--"], ["--", "experiment=debug", "dataloader_train.batch_size=1"]):
        assert command(*words, *named, *network) == 0
        captured = capsys.readouterr()
        assert "lidar=(8, 16)" in captured.out
        assert "using --experiment debug" in " ".join(captured.err.split())
    assert command(*words) == 2
    assert "unknown" in capsys.readouterr().err  # the published network has other weights


def test_a_video_shorter_than_the_lidar_leaves_out_its_sweeps(made: Path, checkpoint: Path, capsys):
    shutil.copytree(made / "drives", made / "short")
    clip = open_clips(made / "short")[0]
    stream = clip.cameras["camera_rear_left_70fov"]
    write_mp4(next((made / "short").glob(f"*rear_left*/{clip.clip_id}.mp4")), [stream.read(0)], 10)
    words = ["generate-lidar", "--checkpoint", checkpoint, *tokenizers(made), "--steps", 1, "--vis", 0]
    assert command(*words, "--data", made / "short", "--save_dir", made / "of_short") == 0
    captured = capsys.readouterr()
    assert "1 of 6 sweeps skipped" in captured.out
    assert f"{clip.clip_id}_{clip.frame_ids[1]}" in captured.out
    assert "skipped" in captured.err
    assert len(list((made / "of_short").glob("*.npz"))) == 5
    near = ["--image_rule", "nearest", "--tolerance", 0.0001]
    assert command(*words, "--data", made / "short", "--save_dir", made / "none", *near) == 2
    assert "no sweep could be generated" in capsys.readouterr().err


def test_features_are_latents_of_the_cut_range_map(made: Path, checkpoint: Path):
    """What the Frechet distance looks at is what the lidar tokenizer makes of a range map, by parts of the turn."""
    clip = open_clips(made / "drives")[0]
    spaces = [open_space(load_tokenizer(made / f"{name}.safetensors"), None) for name in ("lidar", "image")]
    denoiser = open_denoiser(checkpoint, None, torch.device("cpu"), torch.float32)
    generator = LidarGenerator(denoiser, *spaces, clip.sensor, SamplingOptions(near_m=0.0, far_m=0.0))
    vectors = generator.features()(generator.recorded(clip.range_map(0))[None])
    whole = clip.range_map(0)
    near = np.where(whole < clip.sensor.format.max_range_m, whole, 0)
    latents = spaces[0].encode(cut_image(near, clip.sensor.format, 8))
    assert vectors.shape == (1, 16 * 2 * 8)
    wanted = torch.nn.functional.adaptive_avg_pool2d(latents, (2, 8)).flatten(1)
    assert np.allclose(vectors, wanted, atol=1e-4)


@pytest.mark.parametrize(("coding", "margins"), [("published", (1.5, 10.0)), ("validity", (0.0, 0.0))])
def test_margins_and_returns_follow_the_coding_of_the_tokenizer(coding: str, margins: tuple[float, float]):
    torch.manual_seed(2)
    shape = {"patch_size": 8, "channels": 32, "channels_mult": (1,), "num_res_blocks": 1, "mid_attention": False}
    space = open_space(build_tokenizer("CI8x8", **shape, coding=coding), None)
    sensor = uniform_sensor(16, 64, format=RangeMapFormat(pair_columns=1, repeat_rows=1))
    generator = LidarGenerator(cast(Any, None), space, space, sensor, SamplingOptions())
    assert generator.margins_m == margins
    latents = 3 * torch.randn(1, 16, 2, 8)
    made = generator.restore(latents)
    image = space.decode(latents)[0]
    if coding == "validity":
        returns = space.network.decode_channels(latents).logit[0, 0] > 0
        assert 0 < returns.float().mean() < 1
        np.testing.assert_array_equal(made > 0, returns.numpy())
    else:
        meters = (image.mean(0).clamp(-1, 1).numpy() + 1) * 47.5 + 5
        np.testing.assert_array_equal(made > 0, (meters > 6.5) & (meters < 90))
    own = replace(generator, options=SamplingOptions(near_m=2.0, far_m=3.0))
    assert own.margins_m == (2.0, 3.0)
