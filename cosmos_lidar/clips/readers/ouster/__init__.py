"""Ouster recordings: packets (``.pcap``) with the sensor's metadata (json), and OSF files; native range images.

Range images have the sensor's rows from the top, and columns that each look in one direction (destaggered); beside them
are the points, by the sensor's own formula with the origins of its beams. Axes are those of the sensor, x forward, y
left, z up, with the origin of the lidar, which lies some 36 mm above that of the sensor. Intensity is the sensor's
reflectivity. Every column has its time; second returns are read.

Poses are read from ``<recording>_poses_kitti.txt``: one row of 12 numbers per frame, of the sensor at its start. Not
read: signal, near infrared, IMU, zones, poses inside of OSF files, pcapng.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from cosmos_lidar.bounds import read_file
from cosmos_lidar.clips.clip import Clip, LidarStream
from cosmos_lidar.clips.files import clean_id
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.readers.folder.track import at_sweeps, read_track
from cosmos_lidar.clips.readers.ouster.frames import FrameSpan, FrameSweeps
from cosmos_lidar.clips.readers.ouster.metadata import geometry_of, parse_metadata
from cosmos_lidar.clips.readers.ouster.osf import OsfFrames, index_osf
from cosmos_lidar.clips.readers.ouster.pcap import PcapFrames, index_pcap
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import visible_files
from cosmos_lidar.sensors.sensor import Sensor

DESCRIPTION = "Ouster recordings: .pcap with the sensor's .json, or .osf; native range images"
EXAMPLE_LAYOUT = """
RECORDING.pcap, RECORDING.json                                or a .json whose name is the start of that of the .pcap
RECORDING_poses_kitti.txt                                     (optional)

RECORDING.osf
RECORDING_poses_kitti.txt                                     (optional)
"""
_POSES = "_poses_kitti.txt"
_LARGEST_METADATA = 1 << 22
_YEAR_2000_NS = 946_684_800 * 10**9


def recognise(path: Path) -> Strength:
    """Return EXACT for ``.osf`` files, ``.pcap`` files with metadata beside them, and folders of those."""
    return Strength.EXACT if _recordings(path) else Strength.NONE


def open_clips(path: Path, sensor: Sensor | None = None, on_error: OnError | None = None) -> list[Clip]:
    """Return one clip per recording; of a ``.pcap`` and an ``.osf`` of one name, the ``.osf``.

    Raises:
        DataError: no recording, a broken one, or metadata that do not fit; or ``sensor`` has other rows or columns.
    """
    recordings = _recordings(path)
    if not recordings:
        raise DataError("no recording in it", file=path, wanted="an .osf file, or .pcap and .json files")
    return open_each((partial(_open, file, sensor) for file in recordings), on_error)


def _recordings(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == ".osf" or (path.suffix == ".pcap" and _metadata_file(path)) else []
    found = {file.stem: file for file in visible_files(path, "*.pcap") if _metadata_file(file)}
    found |= {file.stem: file for file in visible_files(path, "*.osf")}
    return [found[stem] for stem in sorted(found)]


def _metadata_file(file: Path) -> Path | None:
    """Return the json of a pcap: the one whose name is the longest start of its name, else the only one there."""
    beside = visible_files(file.parent, "*.json")
    fitting = [one for one in beside if file.stem.startswith(one.stem)]
    if fitting:
        return max(fitting, key=lambda one: len(one.stem))
    return beside[0] if len(beside) == 1 else None


def _open(file: Path, sensor: Sensor | None) -> Clip:
    name, notes = clean_id(file.stem), ["intensity: reflectivity", "not motion-compensated"]
    frames: list[OsfFrames | PcapFrames] = []
    if file.suffix == ".osf":
        frames += index_osf(file)
    else:
        source = _metadata_file(file)
        if source is None:
            raise DataError("no metadata beside it", file=file, clip=name, wanted=f"{file.stem}.json")
        text = read_file(source, "metadata", _LARGEST_METADATA, name).decode("utf-8", "replace")
        parse_metadata(text, source)
        found = index_pcap(file, text)
        frames.append(found)
        notes += [f"{found.packets_cut} packets were not recorded whole"] if found.packets_cut else []
    poses = file.with_name(file.stem + _POSES)
    notes += [f"poses of {poses.name}"] if poses.is_file() else ["no poses"]
    lidars: dict[str, LidarStream] = {}
    for one in frames:
        lidar = _lidar(one, sensor if not lidars else None, poses if not lidars and poses.is_file() else None, name)
        lidars[lidar.name if lidar.name not in lidars else f"{lidar.name}_{len(lidars)}"] = lidar
        notes += _notes(one.spans, lidar.sensor.columns)
    return Clip(name, file, "ouster", lidars, {}, tuple(notes))


def _notes(spans: tuple[FrameSpan, ...], columns: int) -> list[str]:
    partial_frames = sum(span.columns < columns for span in spans)
    notes = [f"{partial_frames} frames lack columns"] if partial_frames else []
    if spans[0].start_ns < _YEAR_2000_NS:
        notes.append("times count from the start of the sensor, not from 1970")
    return notes


def _lidar(frames: OsfFrames | PcapFrames, sensor: Sensor | None, poses: Path | None, clip: str) -> LidarStream:
    metadata, geometry = parse_metadata(frames.metadata), geometry_of(frames.metadata)
    if sensor is not None and sensor.shape != geometry.sensor.shape:
        problem = f"sensor {sensor.name} has {sensor.shape[0]} x {sensor.shape[1]} pixels"
        wanted = f"{geometry.sensor.shape[0]} x {geometry.sensor.shape[1]}, as the recording has"
        raise DataError(problem, file=frames.path, clip=clip, key="sensor", wanted=wanted)
    spans = frames.spans
    times = np.array([[span.start_ns // 1000, max(span.end_ns // 1000, span.start_ns // 1000 + 1)] for span in spans])
    back = np.flatnonzero(np.diff(times[:, 0]) <= 0)
    if len(back):
        key = f"frame {spans[back[0] + 1].number}"
        raise DataError("its time is not after that before", file=frames.path, clip=clip, key=key, wanted="increasing")
    world = None
    if poses is not None:
        world = at_sweeps(read_track(poses, clip), times, poses, clip) @ geometry.sensor_SE3_lidar
    return LidarStream(
        clean_id(f"{metadata.name}_{metadata.serial}"),
        sensor or geometry.sensor,
        _names(spans),
        times.astype(np.int64),
        FrameSweeps(frames.metadata, times[:, 0], frames),
        world,
    )


def _names(spans: tuple[FrameSpan, ...]) -> tuple[str, ...]:
    """Return the sensor's numbers of the frames, with their place before them where the numbers start again at 0."""
    names = [str(span.number) for span in spans]
    return tuple(names) if len(set(names)) == len(names) else tuple(f"{k}_{name}" for k, name in enumerate(names))
