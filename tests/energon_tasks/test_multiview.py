"""Clips of several cameras: from recordings to shards to batches, windows, views, times, resume, what is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("megatron.energon")

from cosmos_lidar.clips.controls.depth import CONTROL
from cosmos_lidar.errors import UserError
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.shards.captions import ClipCaptions
from cosmos_lidar.shards.check_index import check_indexed
from cosmos_lidar.shards.multiview_writer import MultiviewOptions, write_multiview
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.synth import pinhole_rig, synthesize_drive
from energon_tasks.multiview import ViewWindow, multiview_loader
from tests.shards.cameras import IDS, NAMES, camera_clip, numbers_of

WINDOW = ViewWindow(frames=5, size=(48, 64))
SPLIT = PrepareOptions(split=(0.75, 0.25), samples_per_shard=2)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("multiview") / "out"
    clips = [camera_clip(f"clip{number}", frames=12) for number in range(4)]
    options = MultiviewOptions(captions=ClipCaptions(by_clip={"clip0": "rain", "clip1": {NAMES[0]: "left"}}))
    write_multiview(clips, folder, options, SPLIT)
    return folder


def loader(path: Path, split: str = "train", **options: object):
    defaults = {"batch_size": 1, "training": split == "train", "window": WINDOW, "captions": "none",
                "text_shape": (4, 8), "rank": 0, "world_size": 1}  # fmt: skip
    return multiview_loader(path, split, **defaults | options)


def test_batches_hold_the_same_instants_of_every_camera(shards: Path):
    (batch,) = loader(shards, "val")
    assert batch.frames[0].shape == (5, 3, 5, 48, 64)
    assert batch.frames[0].dtype == torch.uint8
    cameras, frames = numbers_of(batch.frames[0])
    assert cameras == [0, 1, 2, 3, 4]
    assert frames == [3, 4, 5, 6, 7]  # the middle one of eight windows
    assert batch.starts == [3]
    assert batch.view_ids.tolist() == [list(IDS)]
    assert batch.cameras == [list(NAMES)]
    assert batch.fps.tolist() == [10.0]
    assert batch.padding_mask.shape == (1, 1, 48, 64)
    assert not batch.padding_mask.any()
    assert batch.text.shape == (1, 5 * 4, 8)
    assert batch.latents == [None]


def test_times_poses_and_lenses_are_those_of_each_image(shards: Path):
    (batch,) = loader(shards, "val", window=ViewWindow(frames=5, size=(24, 64), fit="cover"))
    wanted = np.arange(5) / 10 + np.arange(5)[:, None] / 100
    assert np.allclose(batch.times_s[0], wanted)
    assert batch.poses.shape == (1, 5, 5, 4, 4)
    assert np.allclose(batch.poses[0, 2, :, 0, 3], 1 + np.arange(3, 8))
    assert np.allclose(batch.mounts[0, 2, :3, 2], [1, 0, 0])  # the front camera looks forward
    lens = batch.lenses[0][2]
    assert (lens.height, lens.width) == (24, 64)
    assert lens.cy == pytest.approx(11.5)
    assert lens.fx == pytest.approx(32 / np.tan(0.6))


def test_views_by_id_or_name_in_the_order_asked_for(shards: Path):
    for views in ((0, 4), ("pinhole_front", "pinhole_side_left")):
        (batch,) = loader(shards, "val", window=ViewWindow(frames=5, size=(48, 64), views=views))
        assert numbers_of(batch.frames[0])[0] == [2, 0]
        assert batch.view_ids.tolist() == [[0, 4]]


def test_a_stride_lowers_the_frame_rate_and_windows_begin_at_steps(shards: Path):
    window = ViewWindow(frames=3, size=(48, 64), stride=2, start_step=4)
    found = set()
    batches = iter(loader(shards, window=window))
    for _ in range(24):
        batch = next(batches)
        _, frames = numbers_of(batch.frames[0])
        assert np.diff(frames).tolist() == [2, 2]
        assert batch.fps.tolist() == [5.0]
        found.add(frames[0])
    assert found == {0, 4}


def test_content_identifies_what_is_seen(shards: Path):
    (first,), (again,) = loader(shards, "val"), loader(shards, "val")
    (smaller,) = loader(shards, "val", window=ViewWindow(frames=5, size=(24, 32)))
    assert first.content == again.content
    assert len({*first.content[0], *smaller.content[0]}) == 10


def test_latents_from_a_cache_spare_the_decoding(shards: Path):
    (plain,) = loader(shards, "val")
    cache = {key: torch.full((2, 1, 3, 4), float(place)) for place, key in enumerate(plain.content[0])}
    (cached,) = loader(shards, "val", find_latent=cache.get)
    assert cached.frames == [None]
    assert cached.latents[0][:, 0, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    (both,) = loader(shards, "val", find_latent=cache.get, always_pixels=True)
    assert torch.equal(both.frames[0], plain.frames[0])
    del cache[plain.content[0][3]]
    (partly,) = loader(shards, "val", find_latent=cache.get)
    assert partly.latents == [None]
    assert torch.equal(partly.frames[0], plain.frames[0])


def test_control_videos_follow_those_of_the_cameras(tmp_path: Path):
    """Views are the same, and cached under the same names, with and without control videos in the shards."""
    rig = pinhole_rig(("front", "left"), 64, 48)
    clips = [synthesize_drive(2, uniform_sensor(16, 90), 5, cameras=rig)]
    for folder, controls in (("with", ("depth",)), ("without", ())):
        write_multiview(clips, tmp_path / folder, MultiviewOptions(controls=controls), PrepareOptions(split=(1.0,)))
    (batch,) = loader(tmp_path / "with", training=False, window=replace(WINDOW, views=(3, 0), controls=("depth",)))
    assert not check_indexed(tmp_path / "with").problems
    (plain,) = loader(tmp_path / "without", training=False, window=replace(WINDOW, views=(3, 0)))
    assert batch.frames[0].shape == (4, 3, 5, 48, 64)
    assert torch.equal(batch.frames[0][:2], plain.frames[0])
    assert batch.content[0][:2] == plain.content[0]
    assert len(set(batch.content[0])) == 4
    drawn = CONTROL.open(clips[0])(clips[0].cameras["camera_left"], 3, None)[..., 0].astype(int)
    assert np.abs(batch.frames[0][2, 0, 3].numpy().astype(int) - drawn).mean() < 10  # left, compressed
    assert (batch.cameras, batch.view_ids.tolist()) == ([["camera_left", "camera_front"]], [[3, 0]])
    with pytest.raises(UserError, match=r"no control videos 'depth'; valid: none: .*--control depth"):
        loader(tmp_path / "without", window=replace(WINDOW, controls=("depth",)))


def test_a_resumed_loader_gives_the_next_windows(shards: Path):
    one = loader(shards, seed=3)
    batches = iter(one)
    [next(batches) for _ in range(2)]
    state = one.save_state_rank()
    wanted = [(batch.content, batch.starts, batch.noise_seeds) for batch in (next(batches) for _ in range(6))]
    other = loader(shards, seed=3)
    other.restore_state_rank(state)
    resumed = iter(other)
    assert [(b.content, b.starts, b.noise_seeds) for b in (next(resumed) for _ in range(6))] == wanted
    assert len({start for _, starts, _ in wanted for start in starts}) > 1


def test_short_samples_are_counted(tmp_path: Path):
    clips = [camera_clip("long", frames=9), camera_clip("short", frames=4), camera_clip("val", frames=9)]
    (tmp_path / "lists").mkdir()
    for name, ids in (("train", "long\nshort"), ("val", "val")):
        (tmp_path / "lists" / f"{name}.lst").write_text(ids)
    lists = tuple(tmp_path / "lists" / f"{name}.lst" for name in ("train", "val"))
    write_multiview(clips, tmp_path / "out", MultiviewOptions(), PrepareOptions(split_lists=lists))
    one = loader(tmp_path / "out", repeat=False)
    assert [batch.clip_ids for batch in one] == [["long"]]
    assert one.skip_report.short == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": ViewWindow(frames=13, size=(48, 64))}, "13 frames with stride 1 need samples of 13 frames.*12"),
        ({"window": ViewWindow(frames=5, size=(48, 64), views=(3,))}, r"no view 3; valid: pinhole_side_left \(4\)"),
        ({"window": ViewWindow(frames=5, size=(48, 64), views=(4, 5)), "captions": "front"},
         r"captions=front, and no view has id 0 \(there are \[4, 5\]\)"),
        ({"captions": "all"}, "captions 'all': valid: front, every, none"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(shards: Path, options: dict, message: str):
    with pytest.raises(UserError, match=message):
        loader(shards, **options)
