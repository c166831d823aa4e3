"""Sizes, errors and rates of range storage, ours beside the published npz members in a tar.

Run: ``OMP_NUM_THREADS=1 python benchmarks/shards.py [--frames 20] [--real FOLDER FORMAT] [--json]``

Frames: 128 x 3600, planes with 2 cm noise and 8 % dropouts (the worst case: noise does not compress), or the range maps
of a recording. Rates are of one process, the best of five rounds, all in one run; the readers start from the bytes of
a tar in memory and yield one dense float32 map after the other.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.range_codec import decode_ranges, encode_ranges, read_header

ROUNDS = 5


def noisy_planes(seed: int, rows: int = 128, columns: int = 3600) -> np.ndarray:
    """Return a (rows, columns) float32 range map: ground, walls, 2 cm noise, 8 % dropouts; 0 = no return."""
    rng = np.random.default_rng(seed)
    elevation = np.radians(np.linspace(14.4, -25.0, rows))[:, None]
    azimuth = np.linspace(np.pi, -np.pi, columns, endpoint=False)
    ray = np.stack(np.broadcast_arrays(np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth),
                                       np.sin(elevation)), axis=-1)  # fmt: skip
    walls = [((1, 0), 40), ((-1, 0), 70), ((0, 1), 15), ((0, -1), 22), ((0.7, 0.7), 35)]
    with np.errstate(divide="ignore", over="ignore"):
        hits = [np.where(ray[..., 2] < -1e-3, -1.9 / ray[..., 2], np.inf)]
        for normal, distance in walls:
            facing = ray[..., :2] @ np.array(normal)
            along = np.where(facing > 1e-3, distance / facing, np.inf)
            hits.append(np.where(along * ray[..., 2] < 6, along, np.inf))
    range_m = np.minimum.reduce(hits) + rng.normal(0, 0.02, (rows, columns))
    range_m[(range_m > 105) | (rng.random((rows, columns)) < 0.08)] = 0
    return range_m.astype(np.float32)


def recorded(folder: Path, format: str, frames: int) -> np.ndarray:
    """Return the first (frames, rows, columns) range maps of a recording."""
    from cosmos_lidar.clips import open_clips

    clip = open_clips(folder, format=format)[0]
    return np.stack([clip.range_map(number) for number in range(min(frames, len(clip)))])


def npz(array: np.ndarray) -> bytes:
    """Return a compressed npz of one array."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, array)
    return buffer.getvalue()


def tar_of(members: dict[str, bytes]) -> bytes:
    """Return a tar of the members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def write_published(maps: np.ndarray) -> bytes:
    """Write the published layout: rows, columns and half-float ranges of the returns, an npz each, per frame."""
    members = {}
    for frame, range_m in enumerate(maps):
        row, column = np.nonzero(range_m)
        parts = {"row": row.astype(np.uint8), "col": column.astype(np.uint16)}
        parts["range"] = range_m[row, column].astype(np.float16)
        members |= {f"clip.{frame:06d}.lidar_{name}.npz": npz(array) for name, array in parts.items()}
    return tar_of(members)


def read_published(data: bytes, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Yield the (rows, columns) maps that :func:`write_published` wrote."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        parts: dict[str, np.ndarray] = {}
        for member in tar:
            name = member.name.split(".")[2]
            parts[name] = np.load(io.BytesIO(tar.extractfile(member).read()))["arr_0"]
            if len(parts) == 3:
                range_m = np.zeros(shape, np.float32)
                range_m[parts["lidar_row"], parts["lidar_col"]] = parts["lidar_range"]
                yield range_m
                parts = {}


def write_dense(maps: np.ndarray, dtype: type, scale: float = 1.0) -> bytes:
    """Write one npz of the dense map per frame."""
    stored = np.rint(maps / scale).astype(dtype) if scale != 1.0 else maps.astype(dtype)
    return tar_of({f"clip_{frame:06d}.range.npz": npz(array) for frame, array in enumerate(stored)})


def read_dense(data: bytes, shape: tuple[int, ...], scale: float = 1.0) -> Iterator[np.ndarray]:
    """Yield the (rows, columns) maps that :func:`write_dense` wrote."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            array = np.load(io.BytesIO(tar.extractfile(member).read()))["arr_0"]
            yield array.reshape(shape).astype(np.float32) * np.float32(scale)


def write_ours(maps: np.ndarray) -> bytes:
    """Write samples of ten frames as `cosmos-lidar prepare` does."""
    starts = range(0, len(maps), 10)
    return tar_of({f"clip_{start:06d}.ranges.bin": encode_ranges(maps[start : start + 10]) for start in starts})


def read_ours(data: bytes, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Yield the (rows, columns) maps that :func:`write_ours` wrote."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            sample = tar.extractfile(member).read()
            for frame in range(read_header(sample, "ranges").shape[0]):
                yield decode_ranges(sample, [frame])[0].reshape(shape)


STORES = {
    "published: 3 npz in tar": (write_published, read_published),
    "npz float16": (lambda maps: write_dense(maps, np.float16), read_dense),
    "npz float32": (lambda maps: write_dense(maps, np.float32), read_dense),
    "npz uint16 2 mm": (
        lambda maps: write_dense(maps, np.uint16, 0.002), lambda data, shape: read_dense(data, shape, 0.002),
    ),
    "ours": (write_ours, read_ours),
}  # fmt: skip


def drain(maps: Iterator[np.ndarray]) -> None:
    """Read to the end, keeping nothing, as a training loader does."""
    for _ in maps:
        pass


def best_seconds(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the shortest of some rounds."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def measure(maps: np.ndarray) -> list[dict]:
    """Return a row of numbers per way of storing ``maps``."""
    rows = []
    for name, (write, read) in STORES.items():
        data = write(maps)
        seconds = best_seconds(lambda read=read, data=data: drain(read(data, maps.shape[1:])))
        restored = np.stack(list(read(data, maps.shape[1:])))
        rows.append({
            "store": name,
            "KB_per_frame": len(data) / len(maps) / 1e3,
            "max_error_mm": float(np.abs(restored - maps).max() * 1e3),
            "mask_changed": int(np.count_nonzero((restored > 0) != (maps > 0))),
            "write_frames_per_s": len(maps) / best_seconds(lambda write=write: write(maps), 2),
            "read_frames_per_s": len(maps) / seconds,
        })  # fmt: skip
    for row in rows:
        row["read_ratio"] = row["read_frames_per_s"] / rows[0]["read_frames_per_s"]
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--real", nargs=2, metavar=("FOLDER", "FORMAT"), help="recorded range maps instead")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.real:
        maps = recorded(Path(args.real[0]), args.real[1], args.frames)
    else:
        maps = np.stack([noisy_planes(seed) for seed in range(args.frames)])
    rows = measure(maps)
    if args.json:
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return
    sys.stdout.write(f"{len(maps)} frames of {maps.shape[1:]}, {np.mean(maps > 0):.0%} returns\n")
    sys.stdout.write("| store | KB/frame | max error mm | mask changed | write frames/s | read frames/s | ratio |\n")
    sys.stdout.write("|---|---|---|---|---|---|---|\n")
    for row in rows:
        sys.stdout.write(
            f"| {row['store']} | {row['KB_per_frame']:.0f} | {row['max_error_mm']:.1f} | {row['mask_changed']} "
            f"| {row['write_frames_per_s']:.0f} | {row['read_frames_per_s']:.0f} | {row['read_ratio']:.1f} |\n"
        )


if __name__ == "__main__":
    main()
