"""A run of frames as the parts of a sample: packed, described, verified; what cannot be packed is named."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.clips.clip import Clip, Sweep
from cosmos_lidar.clips.range_codec import decode_intensities, decode_labels, decode_ranges
from cosmos_lidar.errors import DataError
from cosmos_lidar.shards.plan import FrameSpan
from cosmos_lidar.shards.sweeps import (
    INTENSITY,
    LABELS,
    META,
    RANGES,
    BadFrame,
    PackedRun,
    pack_run,
    read_meta,
    verify_parts,
)
from tests.shards.conftest import SENSOR, tiny_clip, tiny_sweep

RUN = FrameSpan(0, "north_000002", 2, 6)


def pack(clip: Clip) -> tuple[PackedRun, list[BadFrame | None]]:
    seen: list[BadFrame | None] = []
    return pack_run(clip, RUN, "sensors/small.yaml", seen.append), seen


@pytest.fixture
def parts() -> dict[str, bytes]:
    return pack(tiny_clip("north", 9))[0].parts


def described(parts: dict[str, bytes], **changed: object) -> dict[str, bytes]:
    """The parts with another description."""
    document = json.loads(parts[META]) | changed
    return parts | {META: json.dumps(document).encode()}


def test_a_sample_holds_its_frames_and_says_which() -> None:
    clip = tiny_clip("north", 9)
    packed, seen = pack(clip)
    assert (packed.key, packed.frames, packed.beyond_max_range, seen) == ("north_000002", 4, 0, [None] * 4)
    sweeps = [clip.read_sweep(number) for number in range(2, 6)]
    ranges = np.stack([sweep.range_m for sweep in sweeps])
    assert np.abs(decode_ranges(packed.parts[RANGES]) - ranges).max() <= SENSOR.range_step_m / 2 + 1e-6
    assert np.abs(decode_intensities(packed.parts[INTENSITY]) - ranges / 200).max() <= 1 / 255
    assert np.array_equal(decode_labels(packed.parts[LABELS]), ranges > 50)
    meta = verify_parts(packed.parts)
    assert (meta.clip_id, meta.sensor_file, meta.shape) == ("north", "sensors/small.yaml", list(SENSOR.shape))
    assert (meta.frame_numbers, meta.frame_ids) == ([2, 3, 4, 5], ["000002", "000003", "000004", "000005"])
    assert meta.timestamps_us == [[100_000 * n, 100_000 * (n + 1)] for n in range(2, 6)]
    assert meta.returns == np.count_nonzero(ranges, axis=(1, 2)).tolist()
    assert np.array_equal(meta.world_SE3_lidar, np.tile(np.eye(4), (4, 2, 1, 1)))


def test_a_frame_that_cannot_be_read_is_a_gap() -> None:
    def read(number: int) -> Sweep:
        if number == 3:
            raise OSError("input/output error")
        sweep = tiny_sweep(number)
        return replace(sweep, intensity=None) if number == 5 else sweep

    packed, seen = pack(tiny_clip("north", 9, read=read))
    assert [bad is None for bad in seen] == [True, False, True, True]
    assert (seen[1].clip, seen[1].frame) == ("north", "000003")
    assert "input/output error" in seen[1].problem
    assert verify_parts(packed.parts).frame_numbers == [2, 4, 5]
    assert set(packed.parts) == {RANGES, LABELS, META}  # one frame has no intensities


def test_nothing_is_packed_of_frames_without_returns() -> None:
    packed, seen = pack(tiny_clip("north", 9, read=lambda _: Sweep(range_m=np.zeros(SENSOR.shape, np.float32))))
    assert (packed.frames, packed.parts) == (0, {})
    assert all("no return in the range map" in bad.problem for bad in seen)


def test_returns_beyond_the_sensor_are_counted() -> None:
    far = tiny_sweep(1).range_m.copy()
    far[0, :5] = SENSOR.max_range_m + 1
    packed, _ = pack(tiny_clip("north", 9, read=lambda _: Sweep(range_m=far)))
    assert packed.beyond_max_range == 20
    assert not decode_ranges(packed.parts[RANGES])[:, 0, :5].any()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"version": 7}, "version 7.*version 1"),
        ({"sensor_file": "../../x.yaml"}, "sensor file '../../x.yaml'.*lies in the folder of the shards"),
        ({"sensor_file": "/etc/passwd"}, "lies in the folder of the shards"),
        ({"clip_id": 3}, "clip 3"),
        ({"weather": "rain"}, "not the description of a sample"),
        ({"returns": [1, 2, 3, 4]}, "returns.*as in meta.json"),
        ({"shape": [3, 3]}, "shape .*as in meta.json"),
        ({"checksums": {RANGES: "0" * 64}}, "sha256 differs"),
        ({"checksums": {"absent.bin": "0" * 64}}, "part missing"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(parts: dict[str, bytes], changed: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        verify_parts(described(parts, **changed))


def test_what_is_no_description_is_refused(parts: dict[str, bytes]) -> None:
    for content in (b"", b"[]", b"\xff", b"{}"):
        with pytest.raises(DataError, match="not the description of a sample"):
            read_meta(content)
    with pytest.raises(DataError, match="part missing"):
        verify_parts({RANGES: parts[RANGES]})


def test_a_part_that_does_not_decode_is_named(parts: dict[str, bytes]) -> None:
    broken = parts[RANGES][:-3]
    checksums = json.loads(parts[META])["checksums"] | {RANGES: hashlib.sha256(broken).hexdigest()}
    with pytest.raises(DataError, match=RANGES):
        verify_parts(described(parts, checksums=checksums) | {RANGES: broken})
