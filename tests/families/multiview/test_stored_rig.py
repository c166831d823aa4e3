"""Rays of a vehicle whose calibration lies in shards or in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from cosmos_lidar.clips.fit_images import fit_lens
from cosmos_lidar.clips.rig import lens_entry
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.dit.job import write_waves
from cosmos_lidar.families.multiview.rays import rig_rays
from cosmos_lidar.families.multiview.stored_rig import read_rig_rays
from cosmos_lidar.shards.multiview_writer import MultiviewOptions, write_multiview
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.synth import surround_rig
from tests.shards.cameras import camera_clip

pytest.importorskip("megatron.energon")
SIZE = (32, 48)


def write_file(path: Path, drop: str = "") -> torch.Tensor:
    """Write a file of three cameras; return their rays in images of SIZE."""
    cameras = surround_rig(96, 54, 70.0)[:3]
    entries = [
        {"name": camera.name, "lens": lens_entry(camera.model),
         "vehicle_SE3_camera": np.asarray(camera.vehicle_SE3_camera).tolist()} for camera in cameras
    ]  # fmt: skip
    entries[1].pop(drop, None)
    path.write_text(yaml.safe_dump({"cameras": entries}))
    lenses = [fit_lens(camera.model, SIZE, "cover") for camera in cameras]
    return rig_rays(lenses, np.stack([camera.vehicle_SE3_camera for camera in cameras]), ["a", "b", "c"])


def test_of_a_file(tmp_path: Path) -> None:
    wanted = write_file(tmp_path / "rig.yaml")
    assert torch.equal(read_rig_rays(tmp_path / "rig.yaml", [5, 0, 1], SIZE), wanted)
    with pytest.raises(UserError, match=r"rig.yaml: 3 cameras for 2 views \[5, 0\]"):
        read_rig_rays(tmp_path / "rig.yaml", [5, 0], SIZE)
    for key in ("lens", "vehicle_SE3_camera"):
        write_file(tmp_path / "rig.yaml", key)
        with pytest.raises(DataError, match=f"has no {key}.*rig.yaml"):
            read_rig_rays(tmp_path / "rig.yaml", [5, 0, 1], SIZE)


def test_of_shards(tmp_path: Path) -> None:
    """Cameras are found by their view ids."""
    clips = [camera_clip(f"clip{number}", frames=5, size=SIZE) for number in range(2)]
    write_multiview(clips, tmp_path / "shards", MultiviewOptions(), PrepareOptions(split=(0.5, 0.5)))
    cameras = {camera.name: camera for camera in clips[0].cameras.values()}
    rays = read_rig_rays(tmp_path / "shards", [0, 5], SIZE)
    names = ["pinhole_front", "pinhole_front_left"]
    lenses = [fit_lens(cameras[name].model, SIZE, "cover") for name in names]
    assert torch.equal(rays, rig_rays(lenses, np.stack([cameras[name].ego_SE3_camera for name in names]), names))
    with pytest.raises(DataError, match=r"no such calibration.*meta.json.*views \[0, 6\]"):
        read_rig_rays(tmp_path / "shards", [0, 6], SIZE)


def test_shards_without_calibration(tmp_path: Path) -> None:
    folder = write_waves(tmp_path / "waves", 4, [4, 2, 4, 4], [], 0)
    with pytest.raises(DataError, match="no such calibration.*lenses and mounts"):
        read_rig_rays(folder, [0, 5], SIZE)
