from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from cosmos_lidar.clips.range_codec import (
    decode_intensities,
    decode_labels,
    decode_ranges,
    encode_intensities,
    encode_labels,
    encode_ranges,
    join_frames,
    read_header,
)
from cosmos_lidar.errors import DataError


def random_maps(frames: int = 4, rows: int = 7, columns: int = 37, farthest: float = 131.0) -> np.ndarray:
    rng = np.random.default_rng(5)
    range_m = rng.uniform(0.5, farthest, (frames, rows, columns)).astype(np.float32)
    range_m[rng.random(range_m.shape) < 0.3] = 0
    return range_m


@pytest.mark.parametrize("step_m", [0.001, 0.002, 0.004])
def test_ranges_come_back_within_half_a_step_and_gaps_stay_gaps(step_m: float) -> None:
    range_m = random_maps(farthest=65.0)
    restored = decode_ranges(encode_ranges(range_m, step_m))
    assert restored.dtype == np.float32
    assert restored.shape == range_m.shape
    np.testing.assert_allclose(restored, range_m, atol=step_m / 2 + 1e-5, rtol=0)
    np.testing.assert_array_equal(restored > 0, range_m > 0)


def test_extreme_steps_wrap_around_and_come_back() -> None:
    """Differences of more than 32767 steps do not fit the signed difference: they must wrap, not saturate."""
    steps = np.array([[[1, 65535, 1, 32769, 0, 65535, 32768, 0, 0, 1, 40000, 7000]]])
    range_m = (steps * 0.002).astype(np.float32)
    np.testing.assert_array_equal(np.rint(decode_ranges(encode_ranges(range_m)) / 0.002), steps)


def test_smallest_return_is_not_lost() -> None:
    range_m = np.array([[[1e-5, 0.0009, 0.0011, 0.0]]], np.float32)
    np.testing.assert_allclose(decode_ranges(encode_ranges(range_m)), [[[0.002, 0.002, 0.002, 0.0]]], atol=1e-9)


@pytest.mark.parametrize("shape", [(0, 4, 8), (2, 1, 1), (1, 3, 5), (1, 0, 8)])
def test_odd_shapes(shape: tuple[int, ...]) -> None:
    range_m = np.full(shape, 12.5, np.float32)
    np.testing.assert_allclose(decode_ranges(encode_ranges(range_m)), range_m, atol=1e-3)
    empty = np.zeros(shape, np.float32)
    np.testing.assert_array_equal(decode_ranges(encode_ranges(empty)), empty)


def test_single_frames_decode_alone() -> None:
    range_m = random_maps()
    data = encode_ranges(range_m)
    everything = decode_ranges(data)
    np.testing.assert_array_equal(decode_ranges(data, [2, 0, 2]), everything[[2, 0, 2]])
    broken = bytearray(data)
    broken[read_header(data).starts[1] + 5] ^= 1
    np.testing.assert_array_equal(decode_ranges(bytes(broken), [0, 3]), everything[[0, 3]])
    with pytest.raises(DataError, match="frame 1 fails its checksum"):
        decode_ranges(bytes(broken))
    with pytest.raises(DataError, match="no frame 4"):
        decode_ranges(data, [4])


def test_every_flipped_byte_is_noticed() -> None:
    data = encode_ranges(random_maps(2, 4, 16))
    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 0x10
        with pytest.raises(DataError):
            decode_ranges(bytes(broken))


def test_every_truncation_and_extension_is_noticed() -> None:
    data = encode_ranges(random_maps(2, 4, 16))
    for length in range(len(data)):
        with pytest.raises(DataError):
            decode_ranges(data[:length])
    with pytest.raises(DataError, match="bytes of encoded frames"):
        decode_ranges(data + b"\0")


def test_later_version_is_refused_by_name() -> None:
    data = bytearray(encode_ranges(random_maps(1)))
    data[4] = 9
    with pytest.raises(DataError, match="version 9"):
        decode_ranges(bytes(data))


def test_forged_block_of_another_size_is_refused() -> None:
    import zstandard

    data = encode_ranges(np.ones((1, 2, 2), np.float32))
    block = zstandard.ZstdCompressor().compress(bytes(5))
    header = data[:28] + struct.pack("<II", len(block), zlib.crc32(block))
    with pytest.raises(DataError, match="frame 0"):
        decode_ranges(header + struct.pack("<I", zlib.crc32(header)) + block)


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "1 ranges are NaN"), (np.inf, "1 ranges are NaN or infinite"), (-1.0, "negative"), (131.2, "131.2 m")],
)
def test_unstorable_ranges_are_refused(value: float, message: str) -> None:
    range_m = np.ones((1, 2, 3), np.float32)
    range_m[0, 1, 1] = value
    with pytest.raises(DataError, match=message):
        encode_ranges(range_m)


@pytest.mark.parametrize("dtype", [np.int32, np.uint16, np.complex64, object, bool])
def test_wrong_dtype_is_refused(dtype: type) -> None:
    with pytest.raises(DataError, match="dtype"):
        encode_ranges(np.ones((1, 2, 3), dtype))


def test_wrong_shape_is_refused() -> None:
    with pytest.raises(DataError, match=r"shape \(2, 3\)"):
        encode_ranges(np.ones((2, 3), np.float32))


def test_intensities_and_labels_come_back() -> None:
    rng = np.random.default_rng(0)
    intensity = rng.uniform(0, 255, (3, 4, 9)).astype(np.float32)
    np.testing.assert_allclose(decode_intensities(encode_intensities(intensity)), intensity, rtol=2**-11)
    labels = rng.integers(0, 65536, (3, 4, 9)).astype(np.uint16)
    np.testing.assert_array_equal(decode_labels(encode_labels(labels), [1]), labels[1:2])
    with pytest.raises(DataError, match="encoded labels"):
        decode_ranges(encode_labels(labels))
    with pytest.raises(DataError, match="above 65504"):
        encode_intensities(intensity * 1e6)
    with pytest.raises(DataError, match="int64"):
        encode_labels(labels.astype(np.int64))


def test_joined_frames_are_the_frames_of_the_parts() -> None:
    range_m = random_maps()
    joined = join_frames([encode_ranges(range_m[:1]), encode_ranges(range_m[1:])])
    assert joined == encode_ranges(range_m)
    with pytest.raises(DataError, match="2 forms"):
        join_frames([encode_ranges(range_m), encode_ranges(range_m, 0.004)])


def test_smaller_than_the_published_half_floats() -> None:
    """On a smooth scene with 2 cm noise and gaps, as the benchmark measures in full size."""
    rng = np.random.default_rng(1)
    columns = np.linspace(-np.pi, np.pi, 600)
    range_m = 20 + 8 * np.sin(columns) + np.linspace(0, 30, 64)[:, None] + rng.normal(0, 0.02, (64, 600))
    range_m[rng.random(range_m.shape) < 0.2] = 0
    halves = len(zlib.compress(range_m.astype(np.float16).tobytes()))
    assert len(encode_ranges(range_m[None].astype(np.float32))) < halves


def test_a_block_that_unpacks_to_more_than_its_frame_is_refused() -> None:
    import zstandard

    whole = encode_ranges(np.ones((1, 4, 8), np.float32))
    block = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    head = whole[:28] + struct.pack("<II", len(block), zlib.crc32(block))
    with pytest.raises(DataError, match="frame 0 holds another number of pixels"):
        decode_ranges(head + struct.pack("<I", zlib.crc32(head)) + block)


def test_a_header_that_promises_terabytes_is_refused() -> None:
    whole = encode_ranges(np.ones((1, 4, 8), np.float32))
    head = whole[:12] + struct.pack("<II", 1 << 20, 1 << 20) + whole[20:36]
    with pytest.raises(DataError, match=r"frames of shape \(1, 1048576, 1048576\) would take 4\.4 TB"):
        decode_ranges(head + struct.pack("<I", zlib.crc32(head)) + whole[40:])
