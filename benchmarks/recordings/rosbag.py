"""Bags of clouds with intensity, ring and time, in every storage."""

from __future__ import annotations

from pathlib import Path

from cosmos_lidar.clips import Clip
from recordings.street import Read, Street, plain_reads, point_records
from tests.clips.point_formats.encoders import DTYPE
from tests.clips.readers.rosbag.bags import KINDS, LIDAR, Types, drive, write_bag


def write(root: Path, street: Street) -> Path:
    """Write one bag per storage."""
    tables = [point_records(cloud, DTYPE) for cloud in street.clouds(street.sensor("kitti_hdl64e"))]
    for kind in KINDS:
        types = Types(kind.startswith("ros1"))
        records, sweep = [], 0
        for topic, name, time_ns, message in drive(types):
            if topic == LIDAR:
                message = types.cloud(time_ns - 40_000_000, tables[sweep % len(tables)])
                sweep += 1
            records.append((topic, name, time_ns, message))
        write_bag(root / "bags" / kind / kind, records, types, kind)
    return root / "bags"


def reads(clip: Clip) -> list[Read]:
    """Return the sweeps of a bag, beside reading its share of the file."""
    (plain,) = plain_reads(clip)
    return [plain._replace(what=clip.clip_id)]
