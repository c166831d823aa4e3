"""Frames with their images as shards: their parts, kinds of lidar that do not go together, and what changed since."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("megatron.energon")

from cosmos_lidar.arrays import read_npy
from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.images import read_image
from cosmos_lidar.clips.range_codec import decode_ranges
from cosmos_lidar.errors import UserError
from cosmos_lidar.families.lidargen.prepare import pack_views, write_views
from cosmos_lidar.families.lidargen.views import FrameViews
from cosmos_lidar.sensors import load_sensor, uniform_sensor
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.synth import pinhole_rig, synthesize_drive

LIDAR = uniform_sensor(8, 64, name="small")
OPTIONS = PrepareOptions(split=(0.5, 0.5), samples_per_shard=1)
VIEWS = FrameViews(cameras=("camera_front",), image_size=(16, 24))


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return [synthesize_drive(seed, LIDAR, 2, cameras=pinhole_rig(("front",), 64, 48)) for seed in (1, 2)]


def test_the_parts_of_a_frame(clips: list[Clip]) -> None:
    (clip, _) = clips
    parts = pack_views(VIEWS, clip, 1)
    assert list(parts) == ["ranges.bin", "camera_front.jpg", "rays.npy"]
    assert np.abs(decode_ranges(parts["ranges.bin"])[0] - clip.range_map(1)).max() <= LIDAR.range_step_m / 2 + 1e-6
    image = read_image(parts["camera_front.jpg"])
    wanted = VIEWS.images(clip, 1)[0].permute(1, 2, 0).numpy()
    assert np.abs(image / 127.5 - 1 - wanted).mean() < 0.03  # JPEG
    assert np.allclose(read_npy(parts["rays.npy"]), VIEWS.rays(clip, 1), atol=2e-3)
    bare = replace(clip, cameras={name: replace(one, model=None) for name, one in clip.cameras.items()})
    assert list(pack_views(VIEWS, bare, 1)) == ["ranges.bin", "camera_front.jpg"]


def test_a_folder_and_what_changed_in_it(clips: list[Clip], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert write_views(clips, VIEWS, out, OPTIONS) == {"train": 2, "val": 2}
    document = json.loads((out / "views.json").read_text())
    assert (document["cameras"], document["image_size"], document["tolerance_s"]) == (["camera_front"], [16, 24], 0.06)
    assert load_sensor(out / "sensor.yaml").fingerprint() == LIDAR.fingerprint()
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    assert len(before) == 4
    camera = clips[0].cameras["camera_front"]
    moved = replace(camera, lidar_SE3_camera=camera.lidar_SE3_camera + np.diag([0.0, 0.0, 0.1, 0.0]))
    write_views([replace(clips[0], cameras={"camera_front": moved}), clips[1]], VIEWS, out, OPTIONS)
    changed = {path.name for path in out.glob("*.tar") if path.stat().st_mtime_ns != before[path.name]}
    assert len(changed) == 2
    for name in changed:
        with tarfile.open(out / name) as tar:
            assert all(member.name.startswith(clips[0].clip_id) for member in tar)


def test_two_kinds_of_lidar_are_refused(clips: list[Clip], tmp_path: Path) -> None:
    other = clips[0].with_lidar(sensor=uniform_sensor(8, 32))
    with pytest.raises(UserError, match="2 kinds of lidar among 2 clips"):
        write_views([other, clips[1]], VIEWS, tmp_path / "out", OPTIONS)
