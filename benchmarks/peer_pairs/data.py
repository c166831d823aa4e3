"""Range maps, shards and readers of recordings beside straightforward ways and the data sets' own programs."""

from __future__ import annotations

import importlib
import io
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np

from cosmos_lidar.clips import Clip, open_clips
from cosmos_lidar.clips.point_formats import ply
from cosmos_lidar.sensors import load_sensor, project_points
from peer_pairs import Maker, Pair


def range_map(small: bool) -> Pair:
    """Points to a range map, beside the search of the nearest of all beams for every point."""
    range_maps = importlib.import_module("range_maps")  # the benchmark beside this one
    sensor = load_sensor("uniform64" if small else "pandar128")
    points = range_maps.sweep(sensor, shuffle=False)
    work = f"range map {sensor.rows} x {sensor.columns} of {len(points):,} points"

    def ours() -> object:
        return project_points(points, sensor)

    return Pair(work, "dense search", ours, lambda: range_maps.straightforward(points, sensor))


def shard(small: bool) -> Pair:
    """All range maps of a shard, beside webdataset on the release layout (three npz members per frame)."""
    webdataset = importlib.import_module("webdataset")
    shards = importlib.import_module("shards")  # the benchmark beside this one
    frames, rows, columns = (4, 16, 360) if small else (20, 128, 3600)
    maps = np.stack([shards.noisy_planes(seed, rows, columns) for seed in range(frames)])
    ours, folder = shards.write_ours(maps), Path(_folder().name)
    file = folder / "published.tar"
    file.write_bytes(shards.write_published(maps))

    def theirs() -> None:
        dataset = webdataset.WebDataset(str(file), shardshuffle=False, empty_check=False)
        for sample in dataset:  # a clip: its members are named FRAME.lidar_PART.npz
            for frame in sorted({key.partition(".")[0] for key in sample if key.endswith(".npz")}):
                row, column, distance = (
                    np.load(io.BytesIO(sample[f"{frame}.lidar_{part}.npz"]))["arr_0"]
                    for part in ("row", "col", "range")
                )
                range_m = np.zeros((rows, columns), np.float32)
                range_m[row, column] = distance

    work = f"a shard of {frames} range maps of {rows} x {columns}"
    return Pair(work, "webdataset + npz", lambda: shards.drain(shards.read_ours(ours, (rows, columns))), theirs,
                bytes=maps.nbytes)  # fmt: skip


def kitti_scan(small: bool) -> Pair:
    """A KITTI scan as points and intensity, beside pykitti."""
    peer = importlib.import_module("pykitti.utils")
    clip, files = _recording("kitti", small)
    ours, theirs = _turns(clip, files, peer.load_velo_scan)
    return Pair(f"KITTI scan of {_points(clip)} points, with its clip", "pykitti", ours, theirs)


def nuscenes_sweep(small: bool) -> Pair:
    """A nuScenes sweep as points, intensity and ring, beside the devkit."""
    peer = importlib.import_module("nuscenes.utils.data_classes")
    clip, files = _recording("nuscenes", small)
    ours, theirs = _turns(clip, files, lambda file: peer.LidarPointCloud.from_file(str(file)).points)
    return Pair(f"nuScenes sweep of {_points(clip)} points, with its clip", "nuscenes-devkit", ours, theirs)


def ply_cloud(small: bool) -> Pair:
    """The fields of a binary PLY cloud, beside plyfile."""
    peer = importlib.import_module("plyfile")
    count = 1000 if small else 200_000
    names = ("x", "y", "z", "intensity")
    table = np.empty(count, [(name, "<f4") for name in names])
    for name in names:
        table[name] = np.random.default_rng(0).random(count)
    file = Path(_folder().name) / "cloud.ply"
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {count}"]
    lines += [f"property float {name}" for name in names] + ["end_header", ""]
    file.write_bytes("\n".join(lines).encode() + table.tobytes())

    def theirs() -> list[np.ndarray]:
        vertex = peer.PlyData.read(str(file))["vertex"]
        return [np.ascontiguousarray(vertex[name]) for name in names]

    def ours() -> list[np.ndarray]:
        fields = ply.read(file).columns
        return [np.ascontiguousarray(fields[name]) for name in names]

    return Pair(f"PLY of {count:,} points", "plyfile", ours, theirs)


def _turns(clip: Clip, files: list[Path], read: object) -> tuple[object, object]:
    frames: Iterator[int] = iter(range(0))

    def next_frame() -> int:
        nonlocal frames
        found = next(frames, None)
        if found is None:
            frames = iter(range(len(files)))
            return next_frame()
        return found

    return lambda: clip.lidar.read(next_frame()), lambda: read(files[next_frame()])


@lru_cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


def _recording(name: str, small: bool) -> tuple[Clip, list[Path]]:
    """Return a street in a data set's layout, and the files of its sweeps."""
    street: ModuleType = importlib.import_module("recordings.street")
    layout: ModuleType = importlib.import_module(f"recordings.{name}")
    root = Path(_folder().name) / name
    root.mkdir()
    layout.write(root, street.Street(frames=3, share=1 / 8 if small else 1.0))
    (clip,) = open_clips(root, format=name)
    return clip, sorted(root.rglob("*.bin"))


def _points(clip: Clip) -> str:
    return f"{len(clip.points(0)):,}"


MAKERS: dict[str, Maker] = {
    "range_map": range_map, "shard": shard, "kitti_scan": kitti_scan, "nuscenes_sweep": nuscenes_sweep,
    "ply_cloud": ply_cloud,
}  # fmt: skip
