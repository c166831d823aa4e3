"""Windows of synthetic drives for ``multiview_proof.py``: images with exact depth and poses, and their latent space.

A window is a few consecutive frames of neighboring cameras. Latents are pixels: images averaged over 4 x 4 pixels,
whose blocks of 2 x 2 are the 12 channels of a latent. Nothing is lost but the averaged detail, so that what is measured
is the diffusion alone, without the error of a VAE. (Larger blocks have more numbers than a small network has channels,
and it cannot tell their noise from images.)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from cosmos_lidar.clips.controls.depth import brightness
from cosmos_lidar.files import atomic_write
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.shards.latents import CONTROLS, LATENT, LATENTS, META, SAMPLE_TYPE, half_bytes
from cosmos_lidar.shards.manifest import index_with_energon
from cosmos_lidar.synth import RigCamera, build_scene, render, surround_rig
from cosmos_lidar.synth.labels import ROAD_USERS

AVERAGED, BLOCK = 4, 2  # pixels of a side that become one, and of those the side of a latent
CHANNELS = 3 * BLOCK**2
VIEW_IDS = (5, 0, 1)  # front left, front, front right
RATE_HZ = 10.0
_SCALE = 2.0  # of pixels in [-1, 1]: their standard deviation becomes about 1
_FOV_DEG = 70.0
_SKY_M = 1e4
_NEAR = 0.05  # relative difference of depths that are the same surface


@dataclass(frozen=True)
class Layout:
    """What is rendered of a drive.

    Attributes:
        frames: of a window, the given one included.
        height: of the rendered images, pixels.
        width: of the rendered images, pixels.
        windows: of a drive.
        gap_s: from the start of a window to that of the next one.
    """

    frames: int = 4
    height: int = 64
    width: int = 112
    windows: int = 10
    gap_s: float = 1.0

    @cached_property
    def rig(self) -> tuple[RigCamera, ...]:
        """The cameras, from left to right, each the neighbor of the next."""
        return surround_rig(self.width, self.height, _FOV_DEG)[1:4]

    @property
    def latent_shape(self) -> list[int]:
        """Channels, frames, height, width of the latents of one view."""
        step = AVERAGED * BLOCK
        return [CHANNELS, self.frames, self.height // step, self.width // step]


@dataclass(frozen=True)
class Window:
    """Images of a window with exact depth, labels and poses.

    Attributes:
        images: (V, T, H, W, 3) uint8.
        depth_m: (V, T, H, W) float32 z of the camera axes; inf for the sky.
        labels: (V, T, H, W) uint16 semantic classes.
        poses: (V, T, 4, 4) world_SE3_camera.
    """

    images: np.ndarray
    depth_m: np.ndarray
    labels: np.ndarray
    poses: np.ndarray

    @property
    def video(self) -> Tensor:
        """(V, 3, T, H, W) uint8."""
        return torch.from_numpy(self.images).permute(0, 4, 1, 2, 3)

    @property
    def depth_video(self) -> Tensor:
        """(V, 3, T, H, W) uint8, gray: exact depth as control videos have it, black where there is only sky."""
        shades = torch.from_numpy(brightness(self.depth_m))
        return shades[:, None].expand(-1, 3, -1, -1, -1)


class Seen(NamedTuple):
    """Points that two neighboring cameras see at one instant.

    Attributes:
        frame: number of the frame.
        views: the two cameras.
        uv: (N, 2) rendered pixels of each of the two.
    """

    frame: int
    views: tuple[int, int]
    uv: tuple[np.ndarray, np.ndarray]


class AveragingSpace:
    """Latents that are averaged pixels; takes and gives what ``VideoLatentSpace`` does, images averaged."""

    def encode(self, videos: Tensor) -> Tensor:
        """Return latents (12, V · T, H / 8, W / 8) of videos (V, 3, T, H, W) uint8."""
        flat = averaged(videos).transpose(1, 2).flatten(0, 1)
        return pixel_unshuffle(flat / 127.5 - 1, BLOCK).mul(_SCALE).transpose(0, 1)

    def decode(self, latents: Tensor, views: int) -> Tensor:
        """Return averaged images (V, 3, T, H / 4, W / 4) in [-1, 1], on the CPU."""
        images = pixel_shuffle(latents.cpu().float().transpose(0, 1) / _SCALE, BLOCK)
        return images.unflatten(0, (views, -1)).transpose(1, 2)


def averaged(videos: Tensor) -> Tensor:
    """Return (…, H / 4, W / 4) float means of 4 x 4 pixels of (…, H, W)."""
    blocks = videos.float().unflatten(-1, (-1, AVERAGED)).unflatten(-3, (-1, AVERAGED))
    return blocks.mean(dim=(-3, -1))


def record(layout: Layout, seed: int) -> list[Window]:
    """Return the windows of drive number ``seed``, without the sun's shadows, which take half of the time."""
    seconds = layout.windows * layout.gap_s + layout.frames / RATE_HZ
    scene, windows = build_scene(seed, seconds), []
    for number in range(layout.windows):
        times = [number * layout.gap_s + frame / RATE_HZ for frame in range(layout.frames)]
        poses = np.stack([[scene.world_SE3_vehicle(t) @ one.vehicle_SE3_camera for t in times] for one in layout.rig])
        seen = [
            [render(scene, camera.model, pose, t, shadows=False) for pose, t in zip(path, times, strict=True)]
            for camera, path in zip(layout.rig, poses, strict=True)
        ]
        images, depth, labels = (
            np.stack([[getattr(image, name) for image in view] for view in seen])
            for name in ("rgb", "depth_m", "labels")
        )
        windows.append(Window(images, depth, labels, poses))
    return windows


def mirrored(video: Tensor) -> Tensor:
    """Return (V, 3, T, H, W) as the mirrored street looks: the rig is symmetric."""
    return video.flip(0).flip(-1)


def make_drives(layout: Layout, folder: Path, train: Sequence[int], held_out: Sequence[int], jobs: int) -> Path:
    """Render drives and return the folder of their latents; drives that are there are kept.

    Args:
        layout: what is rendered.
        folder: for the shards, and the held-out windows.
        train: seeds of the drives to train on; each window is there mirrored, too.
        held_out: seeds of the others, whose windows are kept whole, too.
        jobs: processes.
    """
    shards = folder / "shards"
    shards.mkdir(parents=True, exist_ok=True)
    splits = [("train", list(train)), ("val", list(held_out))]
    wanted = [(split, number, seed) for split, seeds in splits for number, seed in enumerate(seeds)]
    missing = [one for one in wanted if not (shards / _shard_name(*one[:2])).is_file()]
    with ProcessPoolExecutor(jobs) as pool:
        for _ in pool.map(partial(_make_drive, layout, folder), missing):
            pass
    if missing or not (shards / ".nv-meta").is_dir():
        names = [_shard_name(split, number) for split, number, _ in wanted]
        index_with_energon(shards, names, sample_type=SAMPLE_TYPE)
        (shards / LATENTS).write_text(json.dumps({"controls": ["depth"]}) + "\n")
    return shards


def read_windows(folder: Path, seed: int) -> Iterator[Window]:
    """Yield the windows of a held-out drive."""
    with np.load(_kept_name(folder, seed)) as stored:
        parts = {field.name: stored[field.name] for field in fields(Window)}
    for number in range(len(parts["images"])):
        yield Window(**{name: part[number] for name, part in parts.items()})


def _make_drive(layout: Layout, folder: Path, wanted: tuple[str, int, int]) -> None:
    split, number, seed = wanted
    windows = record(layout, seed)
    if split == "val":
        _kept_name(folder, seed).parent.mkdir(exist_ok=True)
        parts = {field.name: np.stack([getattr(one, field.name) for one in windows]) for field in fields(Window)}
        with atomic_write(_kept_name(folder, seed)) as partial_file, partial_file.open("wb") as stream:
            np.savez_compressed(stream, **parts)
    pairs = [(window.video, window.depth_video) for window in windows]
    pairs += [(mirrored(video), mirrored(depth)) for video, depth in pairs] if split == "train" else []
    _write_shard(folder / "shards" / _shard_name(split, number), seed, pairs)


def _write_shard(path: Path, seed: int, videos: Sequence[tuple[Tensor, Tensor]]) -> None:
    import webdataset

    space = AveragingSpace()
    with atomic_write(path) as partial_file, webdataset.TarWriter(str(partial_file), mtime=0) as tar:
        for number, (video, depth) in enumerate(videos):
            meta = json.dumps({"clip_id": f"drive_{seed}_{number}"}).encode()
            latents, controls = space.encode(video).numpy(), space.encode(depth)[None].numpy()
            parts = {META: meta, LATENT: half_bytes(latents), CONTROLS: half_bytes(controls)}
            tar.write({"__key__": f"{seed:06d}_{number:03d}", **parts})


def _shard_name(split: str, number: int) -> str:
    return f"{split}-{number:06d}.tar"


def _kept_name(folder: Path, seed: int) -> Path:
    return folder / "held_out" / f"drive_{seed}.npz"


# --- geometry


def motion_compensated(layout: Layout, window: Window) -> np.ndarray:
    """Return (V, T, h, w, 3) averaged images, reprojected from the first frames of all views.

    Each rendered pixel of a frame takes, by the depth and the pose of that frame, the color of the same point in the
    first frame of its own view, else of another view that sees it, and else that of the same pixel in the first frame.
    """
    first, depth = averaged_images(window)[:, 0], window.depth_m
    made = np.empty((*window.images.shape[:4], 3), np.float32)
    for view, frame in np.ndindex(*window.images.shape[:2]):
        points = _world_points(layout.rig[view].model, depth[view, frame], window.poses[view, frame])
        colors = _sample(first[view], _pixels(layout))
        for source in sorted(range(len(first)), key=lambda other: abs(other - view), reverse=True):
            uv, there = _visible(layout.rig[source].model, depth[source, 0], window.poses[source, 0], points)
            colors[there] = _sample(first[source], uv[there])
        made[view, frame] = colors.reshape(layout.height, layout.width, 3)
    return _mean_of_blocks(made)


def static_points(layout: Layout, window: Window) -> list[Seen]:
    """Return the points of things at rest that two neighbors see, of each frame after the first."""
    found = []
    for frame in range(1, window.images.shape[1]):
        for view in range(len(layout.rig) - 1):
            depth = window.depth_m[view, frame]
            at_rest = (np.isfinite(depth) & ~np.isin(window.labels[view, frame], ROAD_USERS)).reshape(-1)
            points = _world_points(layout.rig[view].model, depth, window.poses[view, frame])
            other = layout.rig[view + 1].model, window.depth_m[view + 1, frame], window.poses[view + 1, frame]
            uv, there = _visible(*other, points)
            kept = there & at_rest
            found.append(Seen(frame, (view, view + 1), (_pixels(layout)[kept], uv[kept])))
    return found


def color_differences(images: np.ndarray, points: Sequence[Seen]) -> np.ndarray:
    """Return (N, 3) differences of the colors of the same points in two views of averaged images (V, T, h, w, 3)."""
    found = []
    for seen in points:
        colors = [_sample(images[view, seen.frame], uv) for view, uv in zip(seen.views, seen.uv, strict=True)]
        found.append(colors[0] - colors[1])
    return np.concatenate(found)


def averaged_images(window: Window) -> np.ndarray:
    """Return (V, T, h, w, 3) float32."""
    return _mean_of_blocks(window.images)


def _mean_of_blocks(images: np.ndarray) -> np.ndarray:
    *leading, height, width, colors = images.shape
    blocks = images.reshape(*leading, height // AVERAGED, AVERAGED, width // AVERAGED, AVERAGED, colors)
    return blocks.astype(np.float32).mean(axis=(-4, -2))


def _pixels(layout: Layout) -> np.ndarray:
    """Return (H W, 2) the rendered pixels, row by row."""
    rows, columns = np.indices((layout.height, layout.width), np.float64)
    return np.stack((columns, rows), -1).reshape(-1, 2)


def _world_points(camera: PinholeCamera, depth_m: np.ndarray, world_SE3_camera: np.ndarray) -> np.ndarray:
    """Return (H W, 3) the points that the pixels of a depth map show; the sky is far away."""
    rows, columns = np.indices(depth_m.shape, np.float64)
    rays = camera.unproject(np.stack((columns, rows), -1).reshape(-1, 2))
    z = np.where(np.isfinite(depth_m), depth_m, _SKY_M).reshape(-1, 1)
    return (rays / rays[:, 2:] * z) @ world_SE3_camera[:3, :3].T + world_SE3_camera[:3, 3]


def _visible(
    camera: PinholeCamera, depth_m: np.ndarray, world_SE3_camera: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels (N, 2) of world points, and whether they are inside the image and nothing is in front of them."""
    inside_camera = (points - world_SE3_camera[:3, 3]) @ world_SE3_camera[:3, :3]
    uv, z = camera.project(inside_camera)
    there = np.isfinite(uv).all(-1) & (uv >= 0).all(-1) & (uv <= (camera.width - 1, camera.height - 1)).all(-1)
    columns, rows = np.rint(np.where(there[:, None], uv, 0)).astype(int).T
    seen = np.where(np.isfinite(depth_m), depth_m, _SKY_M)[rows, columns]
    return uv, there & (np.abs(seen - z) <= _NEAR * np.minimum(seen, z))


def _sample(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Return (N, 3) colors of an averaged image (h, w, 3) at rendered pixels, bilinear."""
    rows_columns = (uv[:, ::-1].T + 0.5) / AVERAGED - 0.5
    channels = [map_coordinates(image[..., c], rows_columns, np.float32, order=1, mode="nearest") for c in range(3)]
    return np.stack(channels, -1)
