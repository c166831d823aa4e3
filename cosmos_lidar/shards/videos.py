"""Videos into a folder of Energon shards: tars of ``KEY.mp4`` beside ``KEY.json``, as the published guide has them.

Videos are copied as they are; cameras that hold single images are encoded. After an interruption, the same call resumes
with the first unfinished shard.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip
from cosmos_lidar.clips.files import files_of
from cosmos_lidar.clips.split_files import read_list
from cosmos_lidar.clips.video import VideoFile, are_regular, write_mp4
from cosmos_lidar.errors import DataError, UserError, problem_of
from cosmos_lidar.files import file_sha256, parse_json, read_text, visible_files
from cosmos_lidar.shards.energon_yaml import read_dataset_yaml
from cosmos_lidar.shards.files import ShardRecord, write_text
from cosmos_lidar.shards.journaled import Item, Kind, shard_list, shard_plan, write_journaled
from cosmos_lidar.shards.manifest import ENERGON
from cosmos_lidar.shards.plan import PrepareOptions, deal_drives, split_ids
from cosmos_lidar.shards.sweeps import PackedRun
from cosmos_lidar.tars import open_tar

SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v")
VIDEOS = "videos.json"
SAMPLE_TYPE = "video"
_KIND = Kind("video", SAMPLE_TYPE, "videos.journal.jsonl", VIDEOS)


@dataclass(frozen=True)
class VideoSource:
    """One video to be written as a sample.

    Attributes:
        key: of the sample; no dots, as those begin the name of a part.
        drive: videos of the same drive stay in one split.
        path: of the file, or of the recording, for messages.
        read: returns the encoded video.
        files: that it is made of.
    """

    key: str
    drive: str
    path: Path
    read: Callable[[], bytes]
    files: tuple[Path, ...] = ()


def holds_only_videos(source: Path) -> bool:
    """Return whether a file is a video, or a folder holds videos and no recordings: at most texts and tables beside."""
    if source.is_file():
        return source.suffix.lower() in SUFFIXES
    endings = {path.suffix.lower() for path in visible_files(source, "**/*")}
    return bool(endings & set(SUFFIXES)) and endings <= {*SUFFIXES, ".txt", ".md", ".json", ".csv"}


def find_videos(folder: Path) -> list[VideoSource]:
    """Return all video files below ``folder`` (or the one file), in order; files of one name are one drive.

    Raises:
        DataError: there are none.
    """
    paths = [folder] if folder.is_file() else [p for p in visible_files(folder, "**/*") if p.suffix.lower() in SUFFIXES]
    if not paths:
        raise DataError("no videos in it", file=folder, wanted=f"files ending in {', '.join(SUFFIXES)}")
    root = folder.parent if folder.is_file() else folder
    sources = [
        VideoSource(_key(path.relative_to(root).with_suffix("").as_posix()), path.stem, path, path.read_bytes, (path,))
        for path in paths
    ]
    _refuse_doubles(sources)
    return sources


def camera_videos(clips: Sequence[Clip]) -> list[VideoSource]:
    """Return the cameras of clips as videos: ``CLIP_CAMERA``; the cameras of a clip are one drive.

    Raises:
        DataError: no clip has a camera.
    """
    sources = [
        VideoSource(
            _key(f"{clip.clip_id}_{name}"), clip.clip_id, clip.source, partial(_read_stream, stream), _files_of(stream)
        )
        for clip in clips
        for name, stream in clip.cameras.items()
    ]
    if not sources:
        raise DataError("no cameras in these recordings", file=clips[0].source, wanted="recordings with cameras")
    _refuse_doubles(sources)
    return sources


def _files_of(stream: CameraStream) -> tuple[Path, ...]:
    read = stream.read
    return (read.path,) if isinstance(read, VideoFile) else files_of(read)


def prepare_videos(
    sources: Sequence[VideoSource], folder: Path, options: PrepareOptions, jobs: int = 1
) -> list[ShardRecord]:
    """Write videos as shards and index them for Energon.

    Every video is decoded, so that training can read it from any start; those that fail are skipped, listed in
    ``report.json``, and end the run when they are more than ``options.bad_budget``.

    Args:
        sources: what to write.
        folder: output; empty or absent, or one in which the same call was interrupted.
        options: fractions of the splits, samples per shard, seed, budget.
        jobs: processes.

    Returns:
        The shards, as ``folder/videos.json`` lists them.

    Raises:
        DataError: the folder holds something else, the disk is full, or too many videos cannot be used.
        UserError: fewer drives than splits, or another run at work in the folder.
    """
    plan = _plan(sources, options)
    records = write_journaled(plan, folder, _KIND, _fingerprint(sources, options), options.bad_budget, jobs)
    write_text(folder / VIDEOS, json.dumps({"shards": shard_list(records)}, indent=1) + "\n")
    return records


def check_videos(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Compare a folder with ``videos.json`` and decode every frame; yields (shard, key, problem) of what is wrong."""
    for record in parse_json(read_text(folder / VIDEOS))["shards"]:
        path, found = folder / record["name"], 0
        if not path.is_file() or file_sha256(path) != record["sha256"]:
            yield record["name"], "", "not as it was written (SHA-256), or missing"
            continue
        with open_tar(path) as tar:
            for member in tar.members():
                if not member.name.endswith(".json"):
                    found += 1
                    video = VideoFile(path, member.name, tar.read(member))
                    try:
                        video.check()
                    except Exception as error:
                        yield record["name"], member.name, problem_of(error)
        if found != record["samples"]:
            yield record["name"], "", f"{found} videos instead of {record['samples']}"
    if not (folder / ENERGON / "index.sqlite").is_file():
        yield "", "", "no index of Energon's"
        return
    try:
        read_dataset_yaml(folder / ENERGON / "dataset.yaml")
    except DataError as error:
        yield "", "", str(error)


def _pack(source: VideoSource) -> PackedRun:
    content, facts = _examine(source)
    return PackedRun(source.key, {"json": json.dumps(facts).encode(), "mp4": content}, facts["frames"], 0)


def _examine(source: VideoSource) -> tuple[bytes, dict[str, Any]]:
    """Return the encoded video and what is known of it.

    Raises:
        DataError: it cannot be read or decoded.
    """
    content = source.read()
    video = VideoFile(source.path, content=content)
    times_s = video.times_s()
    if not len(times_s):
        raise DataError("no frames in it", file=source.path, wanted="a video")
    height, width = video(0).shape[:2]
    video.check()
    fps = (len(times_s) - 1) / float(times_s[-1] - times_s[0]) if len(times_s) > 1 else 0.0
    facts = {"frames": len(times_s), "fps": round(fps, 4), "height": height, "width": width}
    return content, facts | {"source": source.path.name, "drive": source.drive}


def _read_stream(stream: CameraStream) -> bytes:
    """Return the file of a camera that is a video, or encode its images."""
    if isinstance(stream.read, VideoFile):
        return stream.read.path.read_bytes()
    gaps_s = np.diff(stream.timestamps_us) / 1e6
    rate_hz = 1.0 / float(np.median(gaps_s)) if len(gaps_s) else 10.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "camera.mp4"
        times_s = (stream.timestamps_us - stream.timestamps_us[:1]) / 1e6
        times = None if are_regular(times_s) else times_s.tolist()
        write_mp4(path, (stream.read(index) for index in range(len(stream.timestamps_us))), rate_hz, times)
        return path.read_bytes()


def _plan(sources: Sequence[VideoSource], options: PrepareOptions) -> dict[str, list[Item]]:
    """Return shard name -> videos; drives are assigned to splits by the hash of their name."""
    drives: dict[str, list[Item]] = defaultdict(list)
    for source in sources:
        drives[source.drive].append(Item(source.key, source.path, partial(_pack, source), source.files))
    mine = {split: [(drive, item) for drive in names for item in drives[drive]]
            for split, names in _splits(drives, options).items()}  # fmt: skip
    return shard_plan(mine, options)


def _splits(drives: Mapping[str, Sequence[Item]], options: PrepareOptions) -> dict[str, list[str]]:
    if not (options.published or options.split_lists):
        return deal_drives(drives, options)
    counts = {drive: len(items) for drive, items in drives.items()}
    return split_ids(counts, options, {drive: items[0].path for drive, items in drives.items()})


def _key(name: str) -> str:
    return name.replace("/", "__").replace(".", "_")


def _refuse_doubles(sources: Sequence[VideoSource]) -> None:
    seen: dict[str, Path] = {}
    for source in sources:
        if source.key in seen:
            raise UserError(f"{source.path} and {seen[source.key]} would both be sample {source.key}: rename one")
        seen[source.key] = source.path


def _fingerprint(sources: Sequence[VideoSource], options: PrepareOptions) -> str:
    content: list[Any] = [options.split, options.samples_per_shard, options.seed, [source.key for source in sources]]
    if options.published or options.split_lists or options.whole_drives:
        content.append({**options.content(), "split_lists": [read_list(path) for path in options.split_lists]})
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
