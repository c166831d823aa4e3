from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.readers.waymo.frames import read_calibrations, read_frames
from cosmos_lidar.errors import DataError
from tests.clips.readers.waymo_records import (
    FIRST_US,
    SEGMENT,
    chunk,
    double,
    encode_context,
    encode_frame,
    integer,
    record,
    record_drive,
    transform,
    write_tfrecord,
)


def test_places_in_the_file_are_those_of_the_images(tmp_path):
    recording = record_drive()
    path = write_tfrecord(tmp_path / "a.tfrecord", recording, recording.frames[::-1])
    frames, whole = read_frames(path), path.read_bytes()
    assert [frame.record for frame in frames] == [2, 1, 0]
    assert [frame.time_us for frame in frames] == [FIRST_US + 100_000 * k for k in range(3)]
    for found, frame in zip(frames, recording.frames, strict=True):
        assert found.segment == SEGMENT
        assert np.array_equal(found.world_SE3_ego, frame.world_SE3_ego)
        for number, image in frame.images.items():
            start, end = found.shots[number].jpeg
            assert whole[start:end] == image.jpeg
            assert np.array_equal(found.shots[number].world_SE3_ego, image.world_SE3_ego)
        assert {number: first.poses is not None for number, (first, _) in found.lasers.items()} == {
            1: True, 2: False, 3: False, 4: False, 5: False}  # fmt: skip


def test_calibrations(tmp_path):
    recording = record_drive()
    path = write_tfrecord(tmp_path / "a.tfrecord", recording)
    lasers, cameras = read_calibrations(path, read_frames(path)[0])
    for number, one in recording.lasers.items():
        assert np.array_equal(lasers[number].inclinations, one.inclinations)
        assert lasers[number].limits == one.limits
        assert np.array_equal(lasers[number].ego_SE3_laser, one.ego_SE3_laser)
    for number, one in recording.cameras.items():
        assert cameras[number].intrinsics == tuple(one.intrinsics)
        assert cameras[number].size == one.size
        assert np.array_equal(cameras[number].ego_SE3_camera, one.ego_SE3_camera)


GOOD = chunk(1, chunk(1, b"s")) + integer(2, 5) + transform(3, np.eye(4))
IMAGE = integer(1, 1) + chunk(2, b"jpeg") + transform(3, np.eye(4))
BROKEN = {
    "empty": (b"", "no context.name"),
    "no time": (chunk(1, chunk(1, b"s")), "no timestamp_micros"),
    "no pose": (chunk(1, chunk(1, b"s")) + integer(2, 5), "shape .0,..*Frame.pose"),
    "time as double": (chunk(1, chunk(1, b"s")) + double(2, 5.0), r"wire type 1 \(64-bit\)"),
    "context as integer": (integer(1, 5) + GOOD, None),
    "bent pose": (GOOD + transform(3, np.diag([2.0, 1, 1, 1])), "no rigid motion"),
    "short pose": (GOOD + chunk(3, double(1, 1.0) * 15), r"shape \(15,\)"),
    "pose as text": (GOOD + chunk(3, chunk(1, b"abc")), "of 3 bytes"),
    "unknown lidar": (GOOD + chunk(5, integer(1, 9) + chunk(2, chunk(2, b"z"))), "name 9.*5 REAR"),
    "unknown camera": (GOOD + chunk(4, integer(1, 6) + IMAGE[2:] + double(5, 1.0)), "name 6.*5 SIDE_RIGHT"),
    "image without time": (GOOD + chunk(4, IMAGE), "pose_timestamp None"),
    "image of NaN time": (GOOD + chunk(4, IMAGE + double(5, float("nan"))), "pose_timestamp nan"),
    "cut off inside": (GOOD + b"\x22\x30" + IMAGE[:20], "beyond the message"),
    "other bytes": (bytes(range(8, 200)), "."),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_frame_is_refused(kind, tmp_path):
    content, problem = BROKEN[kind]
    path = tmp_path / "a.tfrecord"
    path.write_bytes(record(content))
    if problem is None:  # the later one counts
        assert read_frames(path)[0].segment == "s"
        return
    with pytest.raises(DataError, match=problem) as caught:
        read_frames(path)
    assert str(caught.value.file) == str(path)
    assert caught.value.key.startswith("record 0: Frame")


def test_every_cut_of_a_record_is_refused_or_read(tmp_path):
    """Each prefix of a record, as a record of its own: never another error than a DataError."""
    recording = record_drive()
    content, path = encode_frame(recording, recording.frames[0]), tmp_path / "segment-a.tfrecord"
    refused = 0
    for size in np.linspace(0, len(content) - 1, 150).astype(int):
        path.write_bytes(record(content[:size]))
        try:
            for clip in open_clips(path):
                for stream in clip.lidars.values():
                    stream.read(0)
        except DataError:
            refused += 1
    assert refused > 100


def test_changed_bytes_are_refused_or_read(tmp_path):
    recording = record_drive()
    content, path = encode_frame(recording, recording.frames[0]), tmp_path / "segment-a.tfrecord"
    rng = np.random.default_rng(0)
    head = len(encode_context(recording, SEGMENT)) + 200
    for place in [*rng.integers(0, head, 60), *rng.integers(0, len(content), 60)]:
        changed = bytearray(content)
        changed[place] ^= int(rng.integers(1, 256))
        path.write_bytes(record(bytes(changed)))
        try:
            for clip in open_clips(path):
                for stream in (*clip.lidars.values(), *clip.cameras.values()):
                    stream.read(0)
        except DataError:
            pass


@pytest.mark.parametrize("what", ["lasers", "cameras"])
def test_a_missing_calibration_is_named(what, tmp_path):
    recording = record_drive()
    some = {number: one for number, one in getattr(recording, what).items() if number != 1}
    path = tmp_path / "segment-a.tfrecord"
    content = chunk(1, encode_context(replace(recording, **{what: some}), SEGMENT))
    path.write_bytes(record(encode_frame(recording, recording.frames[0]) + content))
    name = "TOP" if what == "lasers" else "FRONT"
    with pytest.raises(DataError, match=f"no calibration of {name}") as caught:
        open_clips(path)
    assert (caught.value.clip, caught.value.file) == (SEGMENT, path)


def test_calibrations_of_wrong_sizes(tmp_path):
    recording = record_drive()
    path = tmp_path / "segment-a.tfrecord"
    camera = replace(recording.cameras[2], intrinsics=np.ones(7))
    for wrong, problem in (
        (replace(recording, cameras={**recording.cameras, 2: camera}), "7 intrinsics.*k1 k2 p1 p2 k3"),
        (_with_top(recording, recording.lasers[1].inclinations[1:]), r"shape \(16, 180, 4\).*\(15, columns, 4\)"),
        (_with_top(recording, recording.lasers[1].inclinations[::-1]), "beam inclinations that do not rise"),
    ):
        write_tfrecord(path, wrong)
        with pytest.raises(DataError, match=problem):
            open_clips(path)


def _with_top(recording, inclinations):
    return replace(recording, lasers={**recording.lasers, 1: replace(recording.lasers[1], inclinations=inclinations)})
