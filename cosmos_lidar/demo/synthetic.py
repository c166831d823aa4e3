"""Synthetic recordings of the demo, written once in the published release layout and read back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cosmos_lidar.clips import Clip, open_clips
from cosmos_lidar.clips.writers.release import write_release
from cosmos_lidar.demo.recordings import HELD_OUT_SHARE, Recordings, small_images
from cosmos_lidar.progress import Meter
from cosmos_lidar.sensors import load_sensor
from cosmos_lidar.synth import pinhole_rig, surround_rig, synthesize_drive

SWEEPS = 20  # of a drive for the lidar tokenizer
_TRAIN_LABELED, _HELD_OUT_LABELED = 8, 4  # drives of one sweep
_SEED, _CAMERA_SEED, _LABELED_SEED = 910_000, 920_000, 930_000  # no embedded model was trained on these
_CAMERA_SWEEPS = 9
_LABELED_SENSOR = "nuscenes_hdl32e"
_RING = pinhole_rig(width=256, fov_deg=130.0)  # as small-lidargen was trained with
_SURROUND = surround_rig(112)[1:4]  # neighbors, as small-multiview was trained with


def synthetic_recordings(out: Path, drives: int) -> Recordings:
    """Return synthetic drives below ``out``, made where they are not there yet.

    Args:
        out: folder of the demo; ``drives``, ``cameras`` and ``labeled`` in it are datasets of their own.
        drives: for the lidar tokenizer; the last fifth of them, at least one, is held out.
    """
    sensor = load_sensor("uniform64")
    clips = _kept(out / "drives", [synthesize_drive(_SEED + number, sensor, SWEEPS) for number in range(drives)])
    clips = [clip.with_lidar(sensor=small_images(sensor)) for clip in clips]
    (scene,) = _kept(
        out / "cameras", [synthesize_drive(_CAMERA_SEED, sensor, _CAMERA_SWEEPS, cameras=(*_RING, *_SURROUND))]
    )
    seeds = range(_LABELED_SEED, _LABELED_SEED + _TRAIN_LABELED + _HELD_OUT_LABELED)
    labeled = _kept(out / "labeled", [synthesize_drive(seed, load_sensor(_LABELED_SENSOR), 1) for seed in seeds])
    held_out = max(1, round(drives * HELD_OUT_SHARE))
    return Recordings(
        clips[:-held_out],
        clips[-held_out:],
        scene,
        tuple(camera.name for camera in _RING),
        tuple(camera.name for camera in _SURROUND),
        labeled[:_TRAIN_LABELED],
        labeled[_TRAIN_LABELED:],
        f"Synthetic drives that no embedded model was trained on: {drives} of {SWEEPS} sweeps for the lidar tokenizer "
        f"({held_out} of them held out), one with cameras, {len(labeled)} labeled sweeps.",
    )


def top_up(recordings: Recordings, out: Path) -> Recordings:
    """Return recordings whose synthetic sweeps have been written, and are read back."""
    made = [clip for clip in recordings.train if clip.format == "synth"]
    if not made:
        return recordings
    kept = [clip.with_lidar(sensor=made[0].sensor) for clip in _kept(out / "drives", made)]
    return replace(recordings, train=[clip for clip in recordings.train if clip.format != "synth"] + kept)


def _kept(folder: Path, clips: Sequence[Clip]) -> list[Clip]:
    """Return clips as a folder has them, in the same order; those that are missing are made first."""
    todo = [clip for clip in clips if not (folder / "metadata" / f"{clip.clip_id}.npz").is_file()]
    images = sum(len(camera) for clip in todo for camera in clip.cameras.values())
    with Meter(f"synthesize {folder.name}", "sweeps and images", sum(map(len, todo)) + images) as meter:
        for clip in todo:
            cameras = {name: replace(one, read=_counted(one.read, meter)) for name, one in clip.cameras.items()}
            write_release(folder, replace(clip, cameras=cameras).with_lidar(read=_counted(clip.read_sweep, meter)))
    written = {clip.clip_id: clip for clip in open_clips(folder, "release")}
    return [written[clip.clip_id] for clip in clips]


def _counted(read: Callable[[int], Any], meter: Meter) -> Callable[[int], Any]:
    def counted(index: int) -> Any:
        meter.advance(1)
        return read(index)

    return counted
