"""HTML viewer of a recording: range maps, 3D clouds, camera images with lidar on them, ego path, and a time slider."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.clips.clip import Clip, LidarStream
from cosmos_lidar.log import logger
from cosmos_lidar.progress import track
from cosmos_lidar.viz.cloud_figure import gradient_css
from cosmos_lidar.viz.ego_path import ego_path
from cosmos_lidar.viz.frame_blocks import FAR_M, NEAR_M
from cosmos_lidar.viz.label_colors import class_colors, class_names
from cosmos_lidar.viz.range_map import bar_ticks_m
from cosmos_lidar.viz.recording_frames import PackedFrame, PageLimits, frame_count, pack_frame
from cosmos_lidar.viz.report import Report

_SCRIPTS = ("orbit.js", "recording_cloud.js", "recording_panels.js", "recording.js")
_PATH_POINTS = 2000


def spread(count: int, wanted: int) -> list[int]:
    """Return up to ``wanted`` of the numbers 0..count-1, evenly spread, the first and the last among them."""
    return sorted({int(at) for at in np.round(np.linspace(0, count - 1, min(wanted, count)))}) if count else []


def coarse_to_fine(numbers: Sequence[int]) -> Iterator[int]:
    """Yield numbers so that any first few are spread over all: the first, the last, the middle, the quarters."""
    yield from dict.fromkeys([*numbers[:1], *numbers[-1:]])
    gaps = [(0, len(numbers) - 1)]
    while gaps:
        wide = [(low, high) for low, high in gaps if high - low > 1]
        yield from (numbers[(low + high) // 2] for low, high in wide)
        gaps = [half for low, high in wide for half in ((low, (low + high) // 2), ((low + high) // 2, high))]


def write_recording_report(
    path: str | Path,
    title: str,
    clips: Sequence[Clip],
    frames_per_clip: int = 5,
    limits: PageLimits | None = None,
) -> Path:
    """Write an HTML viewer of clips that opens offline: every frame's lidars and cameras, and the way between them.

    Args:
        path: HTML file to write.
        title: of the page.
        clips: what to show.
        frames_per_clip: that many frames of each clip, evenly spread.
        limits: of the page's size. Frames that do not fit are left out, evenly, with a note on the page and a warning.

    Raises:
        DataError: no frame of a clip can be read.
    """
    limits = limits or PageLimits()
    data: list[dict[str, Any]] = []
    blocks: list[str] = []
    notes: list[str] = []
    for number, clip in enumerate(track(clips, "view", "clips")):
        left = limits.megabytes * 1e6 - sum(len(text) for text in blocks)
        frames, note = pack_clip(clip, frames_per_clip, limits, left / (len(clips) - number))
        data.append(describe_clip(clip, frames, first_block=len(blocks)))
        blocks += [text for frame in frames for text in frame.blocks.texts]
        notes.append(note)
    report = Report(title, f"Read as {clips[0].format}. {frames_per_clip} frames of each clip at most are shown.")
    report.block(_viewer_html(data, blocks), *_SCRIPTS)
    for clip, note in zip(clips, notes, strict=True):
        report.heading(clip.clip_id).facts([*_facts(clip), *(("Left out", text) for text in [note] if text)])
    return report.write(path)


def pack_clip(clip: Clip, wanted: int, limits: PageLimits, most_bytes: float) -> tuple[list[PackedFrame], str]:
    """Return frames of a clip that fit into ``most_bytes``, at least one, and a sentence about those that do not.

    Raises:
        DataError: there are frames, and none of them can be read.
    """
    chosen = spread(frame_count(clip), wanted)
    frames: list[PackedFrame] = []
    size = 0
    for index in track(coarse_to_fine(chosen), f"view {clip.clip_id}", "frames", total=len(chosen)):
        frame = pack_frame(clip, index, limits)
        size += frame.blocks.size
        if frames and size > most_bytes:
            break
        frames.append(frame)
    frames.sort(key=lambda frame: frame.index)
    errors = [frame.error for frame in frames if frame.error is not None]
    for error in errors:
        logger.warning("%s", error)
    if errors and all(frame.empty for frame in frames):
        raise errors[0]
    if len(frames) == len(chosen):
        return frames, ""
    note = (
        f"{len(frames)} of {len(chosen)} frames fit into {limits.megabytes:g} MB; fewer points (--points), narrower "
        "images (--image-width) or a larger page (--megabytes) make room for more"
    )
    logger.warning("clip %s: %s", clip.clip_id, note)
    return frames, note


def describe_clip(clip: Clip, frames: Sequence[PackedFrame], first_block: int = 0) -> dict[str, Any]:
    """Return what the page's script reads about a clip; blocks of the frames are numbered from ``first_block``."""
    described = []
    for frame in frames:
        described.append({**frame.about, "index": frame.index, "first": first_block})
        first_block += len(frame.blocks.texts)
    classes = sorted({one for frame in frames for sweep in frame.about["sweeps"] if sweep for one in sweep["classes"]})
    names, colors = class_names(clip.format), class_colors(np.array(classes, np.int64)).tolist()
    return {
        "id": clip.clip_id,
        "lidars": [{"name": name, "sensor": lidar.sensor.name} for name, lidar in clip.lidars.items()],
        "cameras": list(clip.cameras),
        "labels": [{"id": one, "name": names.get(one, ""), "color": color} for one, color in zip(classes, colors,
                                                                                             strict=True)],
        "path": _path(clip, [frame.index for frame in frames]),
        "frames": described,
    }  # fmt: skip


def _path(clip: Clip, shown: list[int]) -> dict[str, Any] | None:
    path = ego_path(clip)
    if path is None:
        return None
    rounded = np.round(np.column_stack([path.xy_m, path.heading_rad]), 3)
    drawn = sorted({*range(0, len(rounded), -(-len(rounded) // _PATH_POINTS)), len(rounded) - 1})
    line, poses = rounded[drawn, :2].tolist(), rounded[shown].tolist()
    return {"xy": line, "poses": poses, "length": round(path.length_m, 1), "of": path.source}


def _viewer_html(data: list[dict[str, Any]], blocks: Sequence[str]) -> str:
    about = {"clips": data, "near": NEAR_M, "far": FAR_M, "ticks": bar_ticks_m(NEAR_M, FAR_M)}
    template = (resources.files("cosmos_lidar.viz") / "recording.html").read_text(encoding="utf-8")
    options = "".join(f'<option value="{i}">{escape(one["id"])}</option>' for i, one in enumerate(data))
    filled = {
        "clips": options,
        "turbo": gradient_css("turbo"),
        "data": json.dumps(about, separators=(",", ":")).replace("<", "\\u003c"),
        "blocks": "\n".join(f'<script type="application/base64" data-block>{text}</script>' for text in blocks),
    }
    return re.sub(r"\[\[(\w+)\]\]", lambda match: filled[match[1]], template)


def _facts(clip: Clip) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    for lidar in list(clip.lidars.values())[:1]:
        rows, columns = lidar.sensor.shape
        facts += [("Sweeps", _length(lidar)), ("Lidar", f"{lidar.sensor.name}, {rows} × {columns}")]
        facts.append(("Poses", "yes" if lidar.world_SE3_lidar is not None else "no"))
    others = [f"{lidar.name} ({lidar.sensor.name}, {_length(lidar)})" for lidar in list(clip.lidars.values())[1:]]
    if others:
        facts.append(("Further lidars", ", ".join(others)))
    cameras = ", ".join(f"{name} ({len(camera)})" for name, camera in clip.cameras.items()) or "none"
    return [*facts, ("Cameras", cameras), *(("Note", note) for note in clip.notes)]


def _length(lidar: LidarStream) -> str:
    seconds = (int(lidar.timestamps_us[-1][1]) - int(lidar.timestamps_us[0][0])) / 1e6 if len(lidar) else 0.0
    return f"{len(lidar)} in {seconds:.1f} s"
