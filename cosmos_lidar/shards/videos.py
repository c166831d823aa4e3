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
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip
from cosmos_lidar.clips.source_state import files_state
from cosmos_lidar.clips.video import VideoFile, are_regular, write_mp4
from cosmos_lidar.errors import DataError, UserError, problem_of
from cosmos_lidar.files import file_sha256, parse_json, read_text, remove_partial, visible_files
from cosmos_lidar.folder_lock import alone_in
from cosmos_lidar.log import logger
from cosmos_lidar.progress import Meter
from cosmos_lidar.shards.energon_yaml import read_dataset_yaml
from cosmos_lidar.shards.files import Journal, ShardRecord, drop_changed, write_tar, write_text
from cosmos_lidar.shards.manifest import ENERGON, index_with_energon
from cosmos_lidar.shards.plan import PrepareOptions, deal_drives
from cosmos_lidar.shards.sweeps import BadFrame, PackedRun
from cosmos_lidar.tars import open_tar

SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v")
VIDEOS = "videos.json"
SAMPLE_TYPE = "video"
_JOURNAL = "videos.journal.jsonl"
_REPORT = "report.json"


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
    return (read.path,) if isinstance(read, VideoFile) else tuple(getattr(read, "files", ()))


def prepare_videos(sources: Sequence[VideoSource], folder: Path, options: PrepareOptions) -> list[ShardRecord]:
    """Write videos as shards and index them for Energon.

    Every video is decoded, so that training can read it from any start; those that fail are skipped, listed in
    ``report.json``, and end the run when they are more than ``options.bad_budget``.

    Args:
        sources: what to write.
        folder: output; empty or absent, or one in which the same call was interrupted.
        options: fractions of the splits, samples per shard, seed, budget.

    Returns:
        The shards, as ``folder/videos.json`` lists them.

    Raises:
        DataError: the folder holds something else, the disk is full, or too many videos cannot be used.
        UserError: fewer drives than splits, or another run at work in the folder.
    """
    plan = _plan(sources, options)
    if folder.exists() and not (folder / _JOURNAL).exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError("the folder is not empty", file=folder, wanted="an empty folder, or one that is not there")
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder):
        return _write_folder(sources, plan, folder, options)


def _write_folder(
    sources: Sequence[VideoSource], plan: Mapping[str, list[VideoSource]], folder: Path, options: PrepareOptions
) -> list[ShardRecord]:
    journal = Journal(folder / _JOURNAL, _fingerprint(sources, options))
    remove_partial(folder)
    states = {name: files_state(file for source in shard for file in source.files) for name, shard in plan.items()}
    drop_changed(folder, journal, states, VIDEOS)
    with Meter("prepare", "videos", len(sources)) as meter:
        for name, shard in plan.items():
            if name not in journal.finished:
                journal.add(replace(_write_shard(folder / name, shard, meter), sources=states[name]))
            else:
                meter.advance(len(shard))
            _keep_to_budget(journal, options.bad_budget * len(sources), folder)
    records = [record for record in journal.finished.values() if record.samples]
    _write_report(folder, list(journal.finished.values()))
    if not records:
        raise DataError("no video of the source can be used", file=folder / _REPORT, wanted="readable videos")
    index_with_energon(folder, [record.name for record in records], sample_type=SAMPLE_TYPE)
    document = {"shards": [{"name": r.name, "bytes": r.bytes, "sha256": r.sha256, "samples": r.samples,
                            "frames": r.frames} for r in records]}  # fmt: skip
    write_text(folder / VIDEOS, json.dumps(document, indent=1) + "\n")
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


def _write_shard(path: Path, sources: Sequence[VideoSource], meter: Meter) -> ShardRecord:
    bad: list[BadFrame] = []
    frames: dict[str, int] = {}

    def samples() -> Iterator[PackedRun]:
        for source in sources:
            try:
                content, facts = _examine(source)
            except Exception as error:  # one odd video ends no work on the others
                logger.warning("skipped video %s: %s", source.path, problem_of(error))
                bad.append(BadFrame(source.key, "", problem_of(error)))
            else:
                frames[source.key] = facts["frames"]
                yield PackedRun(source.key, {"json": json.dumps(facts).encode(), "mp4": content}, facts["frames"], 0)
            meter.advance(1)

    ready = list(samples())  # a shard is small enough to know its content before its file is opened
    size, digest = write_tar(path, ready) if ready else (0, "")
    split = path.name.rpartition("-")[0]
    return ShardRecord(path.name, split, size, digest, len(ready), sum(frames.values()), frames, bad_frames=bad)


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


def _plan(sources: Sequence[VideoSource], options: PrepareOptions) -> dict[str, list[VideoSource]]:
    """Return shard name -> videos; drives are assigned to splits by the hash of their name."""
    drives: dict[str, list[VideoSource]] = defaultdict(list)
    for source in sources:
        drives[source.drive].append(source)
    plan: dict[str, list[VideoSource]] = {}
    step = options.samples_per_shard
    for split, names in deal_drives(drives, options).items():
        mine = [source for drive in names for source in drives[drive]]
        groups = [mine[first : first + step] for first in range(0, len(mine), step)]
        plan |= {f"{split}-{number:06d}.tar": group for number, group in enumerate(groups)}
    return plan


def _keep_to_budget(journal: Journal, allowed: float, folder: Path) -> None:
    bad = [bad for record in journal.finished.values() for bad in record.bad_frames]
    if len(bad) > allowed:
        _write_report(folder, list(journal.finished.values()))
        wanted = "at most --bad-budget of them; see report.json"
        raise DataError(f"{len(bad)} videos cannot be used; the last: {bad[-1].problem}", file=folder, wanted=wanted)


def _write_report(folder: Path, records: Sequence[ShardRecord]) -> None:
    left_out = [{"video": bad.clip, "problem": bad.problem} for record in records for bad in record.bad_frames]
    write_text(folder / _REPORT, json.dumps({"left_out": left_out}, indent=1) + "\n")


def _key(name: str) -> str:
    return name.replace("/", "__").replace(".", "_")


def _refuse_doubles(sources: Sequence[VideoSource]) -> None:
    seen: dict[str, Path] = {}
    for source in sources:
        if source.key in seen:
            raise UserError(f"{source.path} and {seen[source.key]} would both be sample {source.key}: rename one")
        seen[source.key] = source.path


def _fingerprint(sources: Sequence[VideoSource], options: PrepareOptions) -> str:
    content = [options.split, options.samples_per_shard, options.seed, [source.key for source in sources]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
