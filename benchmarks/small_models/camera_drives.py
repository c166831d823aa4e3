"""Videos of three neighboring cameras on synthetic drives: what the small video VAE and multi-view network train on.

The cameras are front left, front and front right of ``surround_rig``, as ``cosmos-lidar synth --cameras surround
--width 112`` has them: 64 x 112 pixels, 10 Hz. Each drive that is trained on is there mirrored, too: the rig is
symmetric, so that the left camera of the mirrored street shows what the right one saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from common import arrays_of_drives

from cosmos_lidar.clips import Clip
from cosmos_lidar.clips.clip import CameraStream
from cosmos_lidar.files import atomic_write
from cosmos_lidar.parallel.made_once import made_once
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.shards.files import write_text
from cosmos_lidar.shards.multiview import DOCUMENT
from cosmos_lidar.shards.multiview_writer import MultiviewOptions, write_multiview
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.synth import surround_rig, synthesize_drive

HEIGHT, WIDTH, FRAMES = 64, 112, 13
VIEW_IDS = (5, 0, 1)  # front left, front, front right
MIRRORED = "mirrored_"


def render_drives(folder: Path, seeds: Sequence[int], jobs: int) -> dict[int, np.ndarray]:
    """Return the videos of drives, by seed: (3, 13, 64, 112, 3) uint8; those in the folder are not rendered again.

    Args:
        folder: with a file of each drive.
        seeds: of the drives.
        jobs: processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return arrays_of_drives({seed: _file(folder, seed) for seed in seeds}, partial(_render, folder), jobs)


def make_shards(folder: Path, train: Sequence[int], held_out: Sequence[int], jobs: int) -> Path:
    """Write the videos as shards of type ``multiview``, splits ``train`` and ``val``, once; return their folder.

    Args:
        folder: for the shards; videos are beside it, in ``videos``.
        train: seeds of the drives to train on, each of which is there mirrored, too.
        held_out: seeds of others.
        jobs: processes.
    """

    def make() -> None:
        videos = render_drives(folder.parent / "videos", [*train, *held_out], jobs)
        clips = {"train": [], "val": [_recorded(seed, videos[seed]) for seed in held_out]}
        for seed in train:
            clips["train"] += [_recorded(seed, videos[seed]), _mirrored(seed, videos[seed])]
        lists = tuple(folder.parent / f"{name}_clips.txt" for name in clips)
        for path, some in zip(lists, clips.values(), strict=True):
            write_text(path, "".join(f"{clip.clip_id}\n" for clip in some))
        options, prepare = MultiviewOptions(format="jpg"), PrepareOptions(split_lists=lists)
        write_multiview([*clips["train"], *clips["val"]], folder, options, prepare)

    return made_once(folder, folder / DOCUMENT, make)


def mirrored(videos: np.ndarray) -> np.ndarray:
    """Return videos (3, T, H, W, 3) as the mirrored street looks."""
    return videos[::-1, :, :, ::-1]


def _drive(seed: int) -> Clip:
    return synthesize_drive(seed, uniform_sensor(16, 64), FRAMES, cameras=surround_rig(WIDTH)[1:4])


def _render(folder: Path, seed: int) -> None:
    cameras = _drive(seed).cameras.values()
    videos = [[camera.read(number) for camera in cameras] for number in range(FRAMES)]  # an instant's bodies are shared
    with atomic_write(_file(folder, seed)) as partial_file, partial_file.open("wb") as stream:
        np.save(stream, np.stack(videos, axis=1))


def _file(folder: Path, seed: int) -> Path:
    return folder / f"drive_{seed:06d}.npy"


def _recorded(seed: int, videos: np.ndarray) -> Clip:
    """Return the drive with its cameras alone, whose images are rendered already."""
    clip = _drive(seed)
    streams = zip(clip.cameras.items(), videos, strict=True)
    return replace(clip, lidars={}, boxes=None, lane_lines=None, cameras={n: _read(c, v) for (n, c), v in streams})


def _mirrored(seed: int, videos: np.ndarray) -> Clip:
    """Return the mirrored drive; where its cameras are in the world is left out."""
    clip = _recorded(seed, mirrored(videos))
    cameras = {name: replace(camera, world_SE3_camera=None) for name, camera in clip.cameras.items()}
    return replace(clip, clip_id=MIRRORED + clip.clip_id, cameras=cameras)


def _read(camera: CameraStream, video: np.ndarray) -> CameraStream:
    return replace(camera, read=video.__getitem__)
