"""Folders of clouds, one for each kind of file that the reader ``folder`` takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import DracoPy
import laspy
import numpy as np

from cosmos_lidar.clips import Clip
from cosmos_lidar.clips.point_formats import point_formats
from recordings.street import Read, Street, plain_reads, point_records
from tests.clips.point_formats.encoders import write_pcd, write_ply

DTYPE = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("ring", "<u2"), ("time_us", "<i4")]
BESIDE = ("intensity", "ring", "time_us")


def write(root: Path, street: Street) -> Path:
    """Write a folder per extension, with the sensor beside headerless files.

    Raises:
        KeyError: an extension of the reader that this module lacks.
    """
    sensor = street.sensor("kitti_hdl64e")
    for extension in (".bin", *point_formats()):
        folder = root / "clouds" / extension[1:]
        folder.mkdir(parents=True)
        for index, cloud in enumerate(street.clouds(sensor)):
            WRITE[extension](folder / f"{index:04d}{extension}", point_records(cloud, DTYPE))
        (folder / "sensor.yaml").write_text(sensor.to_yaml())
    return root / "clouds"


def _columns(table: np.ndarray) -> np.ndarray:
    return np.stack([table[name] for name in ("x", "y", "z", "intensity")], 1)


def _write_las(path: Path, table: np.ndarray) -> None:
    header = laspy.LasHeader(point_format=6, version="1.4")
    header.scales = np.full(3, 0.001)
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = (table[axis].astype(np.float64) for axis in "xyz")
    cloud.intensity = np.rint(table["intensity"] * 65535).astype(np.uint16)
    cloud.write(path)


def _write_drc(path: Path, table: np.ndarray) -> None:
    values = {"intensity": np.rint(table["intensity"] * 255).astype(np.uint8)[:, None],
              "ring": table["ring"].astype(np.uint16)[:, None]}  # fmt: skip
    points = np.ascontiguousarray(_columns(table)[:, :3])
    path.write_bytes(DracoPy.encode(points, quantization_bits=14, generic_attributes=values))


WRITE: dict[str, Callable[[Path, np.ndarray], object]] = {
    ".bin": lambda path, table: _columns(table).tofile(path),
    ".drc": _write_drc,
    ".las": _write_las,
    ".laz": _write_las,
    ".npy": lambda path, table: np.save(path, _columns(table)),
    ".npz": lambda path, table: np.savez(path, points=_columns(table)[:, :3], **{n: table[n] for n in BESIDE}),
    ".pcd": write_pcd,
    ".ply": write_ply,
}


def reads(clip: Clip) -> list[Read]:
    """Return the clouds of a folder, beside laspy, Draco or reading the file."""
    (plain,) = plain_reads(clip)
    files = sorted(path for path in clip.source.iterdir() if path.suffix == f".{clip.source.name}")
    plain = plain._replace(what=files[0].suffix)
    if files[0].suffix in (".las", ".laz"):
        return [
            plain._replace(
                floor=lambda index: laspy.read(files[index], laz_backend=laspy.LazBackend.Lazrs).xyz, decoder="laspy"
            )
        ]
    if files[0].suffix == ".drc":
        contents = [file.read_bytes() for file in files]
        return [plain._replace(floor=lambda index: DracoPy.decode(contents[index]), decoder="Draco")]
    return [plain]
