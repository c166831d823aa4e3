"""Stored calibration of a vehicle's cameras, for videos that come without: from shards, or from a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from cosmos_lidar.clips.fit_images import fit_lens
from cosmos_lidar.clips.rig import lens_of_entry
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.multiview.rays import rig_rays
from cosmos_lidar.files import parse_json, read_yaml
from cosmos_lidar.sensors.rigid import pose_of_file
from cosmos_lidar.shards.facts import first_sample
from cosmos_lidar.shards.latents import META
from cosmos_lidar.shards.sources import resolve

POSE = "vehicle_SE3_camera"  # of a camera in a file


def read_rig_rays(path: Path, views: Sequence[int], size: tuple[int, int]) -> Tensor:
    """Return the rays (V, rows, columns of tokens, 6) of a vehicle whose calibration is stored.

    Args:
        path: shards of ``prepare --task multiview`` or of ``encode-clips``, whose first clip has the vehicle; or a file
            as :mod:`cosmos_lidar.clips.rig` has them, with ``vehicle_SE3_camera`` instead of ``lidar_SE3_camera``,
            cameras in the order of the views.
        views: view ids.
        size: (height, width) of the images, which cover it.

    Raises:
        DataError: no calibration there, or cameras without.
        UserError: another number of cameras than views.
    """
    if not path.is_dir():
        return _rays_of_file(path, views, size)
    part = resolve(path, "train").parts[0]
    content = first_sample(part)
    document = parse_json(content.get(META, b"{}"))
    try:
        places = [document["view_ids"].index(view) for view in views]
        names = [document["cameras"][place] for place in places]
        lenses, mounts = document["lenses"], document["mounts"]
        entries = [lenses[place] if lenses else None for place in places]
        poses = [mounts[place] if mounts else None for place in places]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        wanted = f"cameras, lenses and mounts of views {list(views)}"
        raise DataError(f"no such calibration: {error!r:.80}", file=path, key=META, wanted=wanted) from error
    known = [None if entry is None else fit_lens(lens_of_entry(entry, name, path), size, "cover")
             for entry, name in zip(entries, names, strict=True)]  # fmt: skip
    found = None if any(pose is None for pose in poses) else np.array(poses, np.float64)
    return rig_rays(known, found, names)


def _rays_of_file(path: Path, views: Sequence[int], size: tuple[int, int]) -> Tensor:
    wanted = "cameras, each with name, lens and vehicle_SE3_camera, in the order of the views"
    cameras = read_yaml(path, wanted).get("cameras")
    if not isinstance(cameras, list) or not all(isinstance(entry, dict) for entry in cameras):
        raise DataError("no cameras", file=path, wanted=wanted)
    if len(cameras) != len(views):
        raise UserError(f"{path}: {len(cameras)} cameras for {len(views)} views {list(views)}: expected one of each")
    names = [str(entry.get("name", number)) for number, entry in enumerate(cameras)]
    lenses, mounts = [], []
    for entry, name in zip(cameras, names, strict=True):
        if "lens" not in entry or POSE not in entry:
            raise DataError(f"camera {name} has no {POSE if 'lens' in entry else 'lens'}", file=path, wanted=wanted)
        lenses.append(fit_lens(lens_of_entry(entry["lens"], name, path), size, "cover"))
        mounts.append(pose_of_file(entry[POSE], path, POSE, "camera axes to vehicle axes", f"camera {name}"))
    return rig_rays(lenses, np.stack(mounts), names)
