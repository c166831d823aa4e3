"""Small folders of shards of every sample type, and their loaders, for tests of what all types have in common."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cosmos_lidar.clips.clip import Clip, Sweep
from cosmos_lidar.clips.range_codec import encode_ranges
from cosmos_lidar.clips.video import write_mp4
from cosmos_lidar.sensors.sensor import RangeMapFormat, uniform_sensor
from cosmos_lidar.shards.latents import array_bytes
from cosmos_lidar.shards.manifest import index_with_energon
from cosmos_lidar.shards.multiview_writer import MultiviewOptions, write_multiview
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.points_writer import write_points
from cosmos_lidar.shards.prepare import prepare_shards
from cosmos_lidar.shards.videos import find_videos, prepare_videos
from energon_tasks.latents import latents_loader
from energon_tasks.multiview import ViewWindow, multiview_loader
from energon_tasks.points import points_loader
from energon_tasks.sweeps import lidar_loader
from energon_tasks.videos import Window, video_loader
from energon_tasks.views import views_loader
from tests.energon_tasks.conftest import tiny_clip, tiny_map
from tests.shards.cameras import NAMES, camera_clip

KINDS = ("sweeps", "videos", "views", "latents", "multiview", "points")
REPEATED = KINDS[:-1]  # of slow tests whose code is the same for all types
SENSOR = uniform_sensor(8, 64, name="small", format=RangeMapFormat(repeat_rows=2, crop_columns=0))


def write(kind: str, folder: Path, name: str, samples: int, **changed: Any) -> Path:
    """Write ``samples`` samples for training and 2 for validation; clips are called ``NAME0``, ``NAME1``…"""
    makers = {
        "sweeps": _sweeps,
        "videos": _videos,
        "views": _views,
        "latents": _latents,
        "multiview": _multiview,
        "points": _points,
    }
    makers[kind](folder, name, samples, **changed)
    return folder


def open_loader(kind: str, path: Any, split: str = "train", **options: Any) -> Any:
    """Open a loader of single samples for rank 0 of 1, or as ``options`` say."""
    common = {"batch_size": 1, "training": split == "train", "rank": 0, "world_size": 1, "shuffle_buffer": 3} | options
    if kind == "sweeps":
        return lidar_loader(path, split, **{"frame_mode": "random", "crop_width": 8} | common)
    if kind == "videos":
        return video_loader(path, split, window=Window(frames=2, size=16), **common)
    if kind == "views":
        return views_loader(path, split, step=8, **common)
    if kind == "multiview":
        window = ViewWindow(frames=2, size=(16, 24))
        return multiview_loader(path, split, window=window, captions="none", text_shape=(2, 4), **common)
    if kind == "points":
        return points_loader(path, split, **common)
    return latents_loader(path, split, **common)


def signature(batch: Any) -> tuple:
    """Return keys and content of a batch, as values that compare and can be written as JSON."""
    tensors = [getattr(batch, name) for name in ("images", "frames", "lidar", "latents") if hasattr(batch, name)]
    tensors += [batch.points.values] if hasattr(batch, "points") else []
    tensors = [part for one in tensors for part in ([one] if torch.is_tensor(one) else one) if part is not None]
    seeds = getattr(batch, "noise_seeds", [])
    return (*batch.__key__, *batch.clip_ids, *seeds, *(round(float(tensor.double().sum()), 6) for tensor in tensors))


def take(loader: Any, count: int) -> list[tuple]:
    """Return the signatures of the next batches."""
    batches = iter(loader)
    return [signature(next(batches)) for _ in range(count)]


def _sweeps(folder: Path, name: str, samples: int, sensor: Any = SENSOR) -> None:
    clips = [tiny_clip(f"{name}{number}", 4, sensor) for number in range(samples + 2)]
    options = PrepareOptions(split=(samples, 2), frames_per_sample=4, samples_per_shard=3)
    prepare_shards(clips, folder, options)


def _videos(folder: Path, name: str, samples: int) -> None:
    source = folder.with_name(folder.name + "-source")
    source.mkdir()
    for number in range(samples + 2):
        images = [np.full((16, 24, 3), 20 + 10 * number + frame, np.uint8) for frame in range(4)]
        write_mp4(source / f"{name}{number}.mp4", images, 10.0)
    prepare_videos(find_videos(source), folder, PrepareOptions(split=(samples, 2), samples_per_shard=3))


def _multiview(folder: Path, name: str, samples: int, names: tuple[str, ...] = NAMES[:2]) -> None:
    clips = [camera_clip(f"{name}{number}", 4, names, size=(16, 24)) for number in range(samples + 2)]
    write_multiview(clips, folder, MultiviewOptions(), PrepareOptions(split=(samples, 2), samples_per_shard=3))


def _points(folder: Path, name: str, samples: int) -> None:
    clips = [tiny_clip(f"{name}{number}", 1, SENSOR) for number in range(samples + 2)]
    with_intensity = [clip.with_lidar(read=_with_intensity(clip)) for clip in clips]
    write_points(with_intensity, folder, PrepareOptions(split=(samples, 2), samples_per_shard=3))


def _with_intensity(clip: Clip) -> Callable[[int], Sweep]:
    return lambda index: replace(clip.read_sweep(index), intensity=np.full(clip.sensor.shape, 0.5, np.float32))


def _views(
    folder: Path, name: str, samples: int, cameras: tuple[str, ...] = ("front", "left"), width: int = 24
) -> None:
    def parts(number: int) -> dict[str, bytes]:
        ranges = encode_ranges(tiny_map(name, number, SENSOR)[None], SENSOR.range_step_m)
        return {"ranges.bin": ranges, **{f"{camera}.jpg": _jpeg(number, width) for camera in cameras}}

    _write_tars(folder, name, samples, parts, "views")
    (folder / "sensor.yaml").write_text(SENSOR.to_yaml())
    (folder / "views.json").write_text(json.dumps({"cameras": cameras, "image_size": [16, width]}))


def _latents(
    folder: Path, name: str, samples: int, shape: tuple[int, ...] = (2, 1, 4, 6), facts: dict[str, Any] | None = None
) -> None:
    def parts(number: int) -> dict[str, bytes]:
        return {"latent.npy": array_bytes(np.full(shape, number, np.float16))}

    _write_tars(folder, name, samples, parts, "latents")
    if facts is not None:
        (folder / "latents.json").write_text(json.dumps(facts))


def _write_tars(folder: Path, name: str, samples: int, parts: Any, sample_type: str) -> None:
    import webdataset

    folder.mkdir()
    names = []
    for split, numbers in (("train", range(samples)), ("val", range(samples, samples + 2))):
        names.append(f"{split}-000000.tar")
        with webdataset.TarWriter(str(folder / names[-1])) as tar:
            for number in numbers:
                meta = json.dumps({"clip_id": f"{name}{number}"}).encode()
                tar.write({"__key__": f"{name}{number}_x", **parts(number), "meta.json": meta})
    index_with_energon(folder, names, sample_type=sample_type)


def _jpeg(number: int, width: int) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.full((16, width, 3), 10 * number, np.uint8)).save(stream, "JPEG")
    return stream.getvalue()
