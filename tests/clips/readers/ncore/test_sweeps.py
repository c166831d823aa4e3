"""Arrays of NCore frames with other shapes and types than a sweep has."""

from __future__ import annotations

import lzma

import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.zarr_store import METADATA
from cosmos_lidar.errors import DataError
from tests.clips.readers.ncore.recording import CAMERA, LIDAR, START_US, cbor2, write

FRAME = f"lidars/{LIDAR}/frames/{START_US + 100_000}"


@pytest.mark.parametrize(
    ("key", "changes", "found"),
    [
        (f"{FRAME}/ray_bundle/direction", {"shape": [7, 2]}, r"shape \(7, 2\)"),
        (f"{FRAME}/ray_bundle/direction", {"dtype": "<i4"}, "dtype int32"),
        (f"{FRAME}/ray_bundle/timestamp_us", {"shape": [3]}, r"shape \(3,\)"),
        (f"{FRAME}/ray_bundle_returns/distance_m", {"shape": [5]}, r"shape \[5\]"),
        (f"{FRAME}/ray_bundle_returns/intensity", None, "no such array"),
        (f"{FRAME}/ray_bundle/model_element", {"dtype": "<i2"}, "dtype int16"),
        (f"cameras/{CAMERA}/frames/{START_US + 100_000}/image", {"dtype": "|S3"}, "bytes"),
    ],
)
def test_arrays_of_other_kinds_are_named(tmp_path, key, changes, found):
    for path in write(tmp_path, "directory"):
        document = cbor2.loads(lzma.decompress((path / METADATA).read_bytes()))
        if f"{key}/.zarray" in document["metadata"]:
            entry = document["metadata"].pop(f"{key}/.zarray")
            if changes is not None:
                document["metadata"][f"{key}/.zarray"] = {**entry, **changes}
            (path / METADATA).write_bytes(lzma.compress(cbor2.dumps(document)))
    (clip,) = open_clips(tmp_path)
    with pytest.raises(DataError, match=found) as caught:
        clip.cameras[CAMERA].read(0) if "image" in key else clip.read_sweep(0)
    assert caught.value.key.startswith(key)
    assert caught.value.clip == "drive-7"


def test_times_on_another_clock_are_named(tmp_path):
    for path in write(tmp_path, "directory"):
        chunk = path / FRAME / "ray_bundle" / "timestamp_us" / "0"
        if chunk.exists():
            metadata = cbor2.loads(lzma.decompress((path / METADATA).read_bytes()))
            entry = metadata["metadata"][f"{FRAME}/ray_bundle/timestamp_us/.zarray"]
            entry["compressor"] = None
            chunk.write_bytes(bytes(8 * entry["shape"][0]))
            (path / METADATA).write_bytes(lzma.compress(cbor2.dumps(metadata)))
    (clip,) = open_clips(tmp_path)
    with pytest.raises(DataError, match="us after the start of the sweep.*timestamp_us"):
        clip.read_sweep(0)
