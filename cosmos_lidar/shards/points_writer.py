"""Writing of point clouds of sweeps as Energon shards: any recording, one sweep a sample, with labels and poses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import Clip, LidarStream, Sweep
from cosmos_lidar.clips.image_features import FeatureFiles
from cosmos_lidar.clips.source_state import clip_state, files_state
from cosmos_lidar.clips.split_files import read_list
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import parse_json, read_text
from cosmos_lidar.shards.files import ShardRecord, write_text
from cosmos_lidar.shards.journaled import REPORT, Item, Kind, shard_list, shard_plan, write_journaled
from cosmos_lidar.shards.latents import array_bytes
from cosmos_lidar.shards.plan import PrepareOptions, drives_of, split_clips
from cosmos_lidar.shards.point_images import pack_image_features
from cosmos_lidar.shards.points import (
    DOCUMENT,
    META,
    MOST_POINTS,
    POINTS,
    SAMPLE_TYPE,
    PointsMeta,
    sample_key,
    value_part,
    write_meta,
)
from cosmos_lidar.shards.sweeps import PackedRun

_KIND = Kind("sweep", SAMPLE_TYPE, "points.journal.jsonl", DOCUMENT)


@dataclass(frozen=True)
class WrittenPoints:
    """What :func:`write_points` has written.

    Attributes:
        shards: as ``points.json`` lists them.
        without_labels: sweeps that were left out because they have none.
    """

    shards: list[ShardRecord]
    without_labels: int


def write_points(
    clips: Sequence[Clip],
    folder: Path,
    prepare: PrepareOptions,
    labeled: bool = False,
    jobs: int = 1,
    images: FeatureFiles | None = None,
) -> WrittenPoints:
    """Write the sweeps of the main lidar of clips as shards of type ``points`` and index them for Energon.

    Empty sweeps, and those that cannot be read, are skipped, listed in ``report.json``, and end the run when they are
    more than the budget. After an interruption, the same call resumes with the first unfinished shard.

    Args:
        clips: of any reader.
        folder: output; empty or absent, or one in which the same call was interrupted.
        prepare: splits, samples per shard, seed, budget.
        labeled: leave out, and count, sweeps without semantic labels.
        jobs: processes.
        images: features of camera images that become part of the samples; None: none.

    Raises:
        DataError: the folder holds something else, the disk is full, or too many sweeps cannot be used.
        UserError: impossible options, fewer drives than splits, another run at work in the folder, or no image features
            for any image.
    """
    if images is not None:
        images.expect_some(list(clips))
    splits = split_clips(clips, prepare)
    drives = drives_of({clip.clip_id: len(clip) for clip in clips}, prepare)
    by_id = {clip.clip_id: clip for clip in clips}
    items = {
        split: [(drives.get(name, ""), item) for name in names for item in _items(by_id[name], labeled, images)]
        for split, names in splits.items()
    }
    plan = shard_plan(items, prepare)
    fingerprint = _fingerprint(clips, prepare, labeled, images)
    records = write_journaled(plan, folder, _KIND, fingerprint, prepare.bad_budget, jobs)
    skipped = len(parse_json(read_text(folder / REPORT))["left_out"])
    without = sum(map(len, items.values())) - sum(record.samples for record in records) - skipped
    document = {
        "version": 1,
        "datasets": sorted({clip.format for clip in clips}),
        "without_labels": without,
        "clips": {split: list(names) for split, names in splits.items()},
        "shards": shard_list(records),
    }
    write_text(folder / DOCUMENT, json.dumps(document, indent=1) + "\n")
    return WrittenPoints(records, without)


def _items(clip: Clip, labeled: bool, images: FeatureFiles | None) -> list[Item]:
    """Return the sweeps of a clip, each a sample."""
    keys = [sample_key(clip.clip_id, number) for number in range(len(clip))]
    return [
        Item(key, clip.source, partial(_pack, clip, number, key, labeled, images), state=_state(clip, number, images))
        for number, key in enumerate(keys)
    ]


def _state(clip: Clip, number: int, images: FeatureFiles | None) -> str:
    """Return what changes with the files of a sweep, those of its image features among them."""
    state = clip_state(clip, number, number + 1)
    return state if images is None else f"{state}{files_state(images.files(clip, number))}"


def _pack(clip: Clip, number: int, key: str, labeled: bool, images: FeatureFiles | None) -> PackedRun:
    """Return the sample of a sweep; one without parts where labels are wanted and there are none."""
    sweep = clip.lidar.cloud(number)
    points, values = _checked(sweep, clip, number)
    if labeled and "labels" not in values:
        return PackedRun(key, {}, 0, 0)
    parts = {POINTS: array_bytes(points), **{value_part(name): array_bytes(value) for name, value in values.items()}}
    meta = PointsMeta(
        clip_id=clip.clip_id,
        frame_id=str(clip.frame_ids[number]),
        frame_number=number,
        timestamps_us=np.asarray(clip.timestamps_us[number]).tolist(),
        world_SE3_lidar=sweep_pose(clip.lidar, number),
        origins_m=[[0.0, 0.0, 0.0]],
        dataset=clip.format,
        sensor=clip.sensor.name,
        points=len(points),
    )
    seen = None if images is None else images.of_sweep(clip, number, points, sweep.time_us)
    parts |= {} if seen is None else pack_image_features(seen)
    return PackedRun(key, {**parts, META: write_meta(meta)}, 1, 0)


def _checked(sweep: Sweep, clip: Clip, number: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the points of a sweep and their values by name.

    Raises:
        DataError: no points, too many, numbers that are not finite, or values of another number than points.
    """
    points = np.zeros((0, 3), np.float32) if sweep.points is None else np.ascontiguousarray(sweep.points, np.float32)
    values, problem = _values(sweep), ""
    if not 0 < len(points) <= MOST_POINTS:
        problem = f"{len(points)} points: expected 1 to {MOST_POINTS}"
    for name, value in {"points": points, **values}.items():
        if len(value) != len(points):
            problem = f"{len(value)} {name} of {len(points)} points"
        elif value.dtype.kind == "f" and not np.isfinite(value).all():
            problem = f"{name} that are NaN or infinite"
    if problem:
        key = f"sweep {clip.frame_ids[number]}"
        raise DataError(problem, file=clip.source, clip=clip.clip_id, key=key, wanted="a sweep of finite points")
    return points, values


def _values(sweep: Sweep) -> dict[str, np.ndarray]:
    """Return what the points of a sweep have; labels in the smallest type that holds them."""
    values = {"intensity": sweep.intensity, "time": sweep.time_us, "labels": sweep.labels}
    found = {name: np.ascontiguousarray(value) for name, value in values.items() if value is not None}
    if "labels" in found and int(found["labels"].max(initial=0)) < 256:
        found["labels"] = found["labels"].astype(np.uint8)
    return found


def sweep_pose(lidar: LidarStream, number: int) -> list[list[float]] | None:
    """Return world_SE3_lidar, (4, 4) nested lists, of the axes that the points of a sweep are in; None where unknown.

    That is the pose at the reference time of motion-compensated points, and in the middle of the sweep of others.
    """
    poses, times = lidar.world_SE3_lidar, np.asarray(lidar.timestamps_us[number])
    if poses is None or not np.isfinite(poses[number]).all():
        return None
    if times[0] == times[1]:
        return np.asarray(poses[number, 0], np.float64).tolist()
    motion = lidar.motion(number)
    if motion is None:
        return None
    moment = motion.reference_us if lidar.motion_compensated else int(times.sum()) // 2
    return motion.trajectory.at(np.array([moment]))[0].tolist()


def _fingerprint(clips: Sequence[Clip], prepare: PrepareOptions, labeled: bool, images: FeatureFiles | None) -> str:
    shares = {key: value for key, value in prepare.content().items() if key not in ("frames_per_sample", "split_lists")}
    lists = [read_list(path) for path in prepare.split_lists]
    content = [labeled, shares, lists, [(clip.clip_id, clip.format, clip.frame_ids) for clip in clips]]
    if images is not None:
        content.append([str(images.folder), images.tolerance_s])
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
