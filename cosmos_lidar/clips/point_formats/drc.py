"""Draco point clouds (``.drc``, extra ``draco``): positions and named attributes; meshes are refused."""

from __future__ import annotations

from pathlib import Path

from cosmos_lidar.bounds import read_file
from cosmos_lidar.clips.draco import decode_cloud
from cosmos_lidar.clips.point_fields import PointFields

EXTENSIONS = (".drc",)


def read(path: Path, clip: str | None = None, *, used: bool = False) -> PointFields:
    """Return the positions and attributes of a Draco point cloud.

    Raises:
        DataError: a mesh, no such file, damaged, or larger than the limit.
        UserError: DracoPy is not installed.
    """
    points, attributes = decode_cloud(read_file(path, "a Draco cloud", clip=clip), path, clip)
    return PointFields({"x": points[:, 0], "y": points[:, 1], "z": points[:, 2], **attributes})
