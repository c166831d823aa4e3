"""A Waymo v1 segment: five lidars of the published sizes with both returns, poses of the pixels of TOP, images."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

from cosmos_lidar.clips import Clip
from cosmos_lidar.clips.protobuf import FileSource
from recordings.street import Read, Street, decode_jpeg
from tests.clips.readers import waymo_records
from tests.clips.readers.waymo_records import Recording, write_tfrecord

TOP, SIDE = (64, 2650), (200, 600)


def recording(street: Street) -> Recording:
    """Return the segment, with images of 1920 x 1280 and 1920 x 886."""
    top, side = ((round(rows * street.share), round(columns * street.share)) for rows, columns in (TOP, SIDE))
    made = waymo_records.record_drive(street.frames, top=top, side=side)
    frames = []
    for frame in made.frames:
        images = {
            number: replace(image, jpeg=street.jpeg(1920, 1280 if number < 4 else 886, number))
            for number, image in frame.images.items()
        }
        frames.append(replace(frame, images=images))
    return replace(made, frames=frames)


def write(root: Path, street: Street) -> Path:
    """Write one ``.tfrecord``."""
    return write_tfrecord(root / "segment-street_with_camera_labels.tfrecord", recording(street))


def reads(clip: Clip) -> list[Read]:
    """Return TOP and FRONT beside zlib on what is unpacked for each, and an image beside Pillow."""
    top, front, camera = clip.lidars["TOP"], clip.lidars["FRONT"], clip.cameras["FRONT"]
    with FileSource(clip.source) as source:
        first, both, side = [], [], []
        for one in top.read.returns:
            packed = [source.read(at, end - at) for at, end in (one[0].poses, one[0].image, one[1].image)]
            labels = [spans.segmentation for spans in one if spans.segmentation is not None]
            extra = [source.read(at, end - at) for at, end in labels]
            first.append([*packed[:2], *extra[:1]])
            both.append([*packed, *extra])
        for one in front.read.returns:
            side.append([source.read(at, end - at) for at, end in (spans.image for spans in one)])
        jpegs = [source.read(at, end - at) for at, end in camera.read.spans]

    def unpack(parts: list[list[bytes]], index: int) -> list[bytes]:
        return [zlib.decompress(part) for part in parts[index]]

    return [
        Read("TOP, first returns", top.read.read_first, len(top), lambda index: unpack(first, index), "zlib"),
        Read("TOP", top.read, len(top), lambda index: unpack(both, index), "zlib"),
        Read("FRONT", front.read, len(front), lambda index: unpack(side, index), "zlib"),
        Read("image", camera.read, len(camera), lambda index: decode_jpeg(jpegs[index]), "JPEG"),
    ]
