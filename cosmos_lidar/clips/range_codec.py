"""Range maps, intensities and labels as compact bytes whose frames decode one by one.

Ranges are stored as unsigned 16-bit multiples of a step (2 mm unless the sensor file has another: error at most
1 mm, farthest 131.07 m; 0 = no return), losslessly compressed. A 128 x 3600 frame of planes with 2 cm noise takes
362 KB and 1.2 ms to decode on one core, a 64 x 2048 frame of KITTI 113 KB; the published layout (three npz members,
half floats that lose up to 31 mm) takes 457 KB and 6.5 ms, and 150 KB (``benchmarks/shards.py`` measures all of it).

How a frame is packed: pixels are taken row by row. A pixel without return repeats its left neighbor. Differences to
the left neighbor (modulo 2^16) plus 128, so that small ones of either sign have a high byte of 0, are split into a
plane of low and a plane of high bytes, and compressed by zstd together with one bit per pixel that marks returns.

Layout, little-endian::

    magic "CLRM" | version u8 | kind u8 | 2 zero bytes | frames u32 | rows u32 | columns u32 | step f64
    per frame: size u32, crc32 u32 of its block
    crc32 u32 of all the above
    the blocks, one after the other
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cosmos_lidar.bounds import expect_size
from cosmos_lidar.errors import DataError

MAX_STEPS = 65535
_MAGIC = b"CLRM"
_VERSION = 1
_HEADER = struct.Struct("<4sBBHIIId")
_RANGES, _HALVES, _LABELS = 1, 2, 3
_KIND_NAMES = {_RANGES: "ranges", _HALVES: "intensities", _LABELS: "labels"}
_LEVEL = 6
_BIAS = 128


@dataclass(frozen=True)
class StoredFrames:
    """The header of encoded frames.

    Attributes:
        kind: "ranges", "intensities" or "labels".
        shape: (frames, rows, columns).
        step_m: meters per stored step; 0 where the kind has none.
        starts: byte at which each block starts, and one more entry for the end of the last.
        crcs: crc32 of each block.
    """

    kind: str
    shape: tuple[int, int, int]
    step_m: float
    starts: tuple[int, ...]
    crcs: tuple[int, ...]


def encode_ranges(range_m: np.ndarray, step_m: float = 0.002) -> bytes:
    """Pack range maps.

    Args:
        range_m: (N, rows, columns) floating point meters, 0 = no return. Returns nearer than half a step
            become one step.
        step_m: storage step; the error is at most half of it, the farthest range 65535 of it.

    Raises:
        DataError: not floating point, not three-dimensional, NaN, negative, or farther than can be stored.
    """
    _expect_frames(range_m, "f", "float32 meters")
    _refuse_unstorable(range_m, step_m)
    steps = np.rint(range_m / np.float32(step_m)).astype(np.uint16)
    steps[(steps == 0) & (range_m > 0)] = 1
    return _pack(_RANGES, steps, step_m, _pack_steps)


def decode_ranges(data: bytes, frames: Sequence[int] | None = None) -> np.ndarray:
    """Unpack what :func:`encode_ranges` made: (n, rows, columns) float32 meters of ``frames`` (default: all, in order).

    Raises:
        DataError: not such data, truncated, or a block that fails its checksum.
    """
    header = read_header(data, "ranges")
    wanted = _wanted_frames(header, frames)
    result = _room(header, len(wanted), np.float32)
    step = np.float32(header.step_m)
    for target, frame in zip(result, wanted, strict=True):
        steps = _unpack_steps(_block(data, header, frame), target.size)
        np.multiply(steps.reshape(target.shape), step, out=target)
    return result


def encode_intensities(intensity: np.ndarray) -> bytes:
    """Pack (N, rows, columns) floating point intensities as half floats (relative error at most 2^-11, up to 65504).

    Raises:
        DataError: not floating point, not three-dimensional, or not finite after the conversion.
    """
    _expect_frames(intensity, "f", "float32 intensities")
    with np.errstate(over="ignore"):
        halves = intensity.astype(np.float16)
    if not np.isfinite(halves).all():
        raise DataError("intensities that are NaN, infinite or above 65504", wanted="finite intensities")
    return _pack(_HALVES, halves.view(np.uint16), 0.0, _pack_planes)


def encode_labels(labels: np.ndarray) -> bytes:
    """Pack (N, rows, columns) uint16 class numbers, exactly.

    Raises:
        DataError: not uint16 or not three-dimensional.
    """
    _expect_frames(labels, "u", "uint16 labels")
    if labels.dtype.itemsize > 2:
        raise DataError(f"labels of dtype {labels.dtype}", wanted="uint16 labels")
    return _pack(_LABELS, labels.astype(np.uint16), 0.0, _pack_planes)


def decode_intensities(data: bytes, frames: Sequence[int] | None = None) -> np.ndarray:
    """Unpack what :func:`encode_intensities` made, to (n, rows, columns) float32; errors as :func:`decode_ranges`."""
    return _unpack_all(data, "intensities", frames).view(np.float16).astype(np.float32)


def decode_labels(data: bytes, frames: Sequence[int] | None = None) -> np.ndarray:
    """Unpack what :func:`encode_labels` made, to (n, rows, columns) uint16; errors as :func:`decode_ranges`."""
    return _unpack_all(data, "labels", frames)


def join_frames(parts: Sequence[bytes]) -> bytes:
    """Return one piece of encoded frames that holds the frames of all ``parts``, in order, without coding them again.

    Raises:
        DataError: the parts differ in kind, rows, columns or step, or one of them is broken.
    """
    headers = [read_header(part) for part in parts]
    forms = {(header.kind, header.shape[1:], header.step_m) for header in headers}
    if len(forms) != 1:
        raise DataError(f"frames of {len(forms)} forms: {sorted(forms)}", wanted="one kind, shape and step")
    kind, (rows, columns), step_m = forms.pop()
    code = {name: code for code, name in _KIND_NAMES.items()}[kind]
    blocks = [part[a:b] for part, header in zip(parts, headers, strict=True) for a, b in _spans(header)]
    return _assemble(code, (len(blocks), rows, columns), step_m, blocks)


def read_header(data: bytes, kind: str | None = None) -> StoredFrames:
    """Read and verify the header of encoded frames; ``kind`` is what it is expected to hold.

    Raises:
        DataError: not such data, another version or kind, a header that fails its checksum, or truncated.
    """
    if len(data) < _HEADER.size or data[:4] != _MAGIC:
        raise DataError("not encoded frames", wanted=f"data that starts with {_MAGIC.decode()}")
    _, version, code, _, frames, rows, columns, step_m = _HEADER.unpack_from(data)
    if version != _VERSION:
        raise DataError(f"encoded frames of version {version}", wanted=f"version {_VERSION}: prepare the shards again")
    start = _HEADER.size + 8 * frames + 4
    if len(data) < start:
        raise DataError(f"truncated inside the header: {len(data)} bytes", wanted=f"{start} bytes of header")
    if zlib.crc32(data[: start - 4]) != struct.unpack_from("<I", data, start - 4)[0]:
        raise DataError("the header fails its checksum", wanted="an intact file")
    table = np.frombuffer(data, "<u4", 2 * frames, _HEADER.size).reshape(frames, 2)
    ends = start + np.cumsum(table[:, 0], dtype=np.int64)
    name, starts = _KIND_NAMES.get(code, str(code)), (start, *ends.tolist())
    header = StoredFrames(name, (frames, rows, columns), step_m, starts, tuple(table[:, 1].tolist()))
    if kind is not None and header.kind != kind:
        raise DataError(f"encoded {header.kind}", wanted=f"encoded {kind}")
    if len(data) != header.starts[-1]:
        raise DataError(f"{len(data)} bytes of encoded frames", wanted=f"{header.starts[-1]} bytes: an intact file")
    return header


def _room(header: StoredFrames, count: int, dtype: type) -> np.ndarray:
    """Return an array for ``count`` decoded frames, if their size is within the limit."""
    shape = (count, *header.shape[1:])
    expect_size(math.prod(shape) * np.dtype(dtype).itemsize, f"frames of shape {shape}")
    return np.empty(shape, dtype)


def _spans(header: StoredFrames) -> list[tuple[int, int]]:
    return list(zip(header.starts[:-1], header.starts[1:], strict=True))


def _expect_frames(array: np.ndarray, dtype_kind: str, wanted: str) -> None:
    if not isinstance(array, np.ndarray) or array.dtype.kind != dtype_kind:
        raise DataError(f"dtype {getattr(array, 'dtype', type(array).__name__)}", wanted=wanted)
    if array.ndim != 3:
        raise DataError(f"shape {array.shape}", wanted=f"{wanted} of shape (frames, rows, columns)")


def _refuse_unstorable(range_m: np.ndarray, step_m: float) -> None:
    if not range_m.size:
        return
    low, high = range_m.min(), range_m.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        count = np.count_nonzero(~np.isfinite(range_m))
        raise DataError(f"{count} ranges are NaN or infinite", wanted="0 for no return")
    if low < 0:
        raise DataError(f"{np.count_nonzero(range_m < 0)} ranges are negative", wanted="0 for no return")
    if high > MAX_STEPS * step_m:
        wanted = f"at most {MAX_STEPS * step_m:.1f} m with a step of {step_m} m: raise range_step_m in the sensor file"
        raise DataError(f"a range of {high:.1f} m", wanted=wanted)


def _pack(code: int, frames: np.ndarray, step_m: float, pack_frame: Callable[[np.ndarray], bytes]) -> bytes:
    import zstandard

    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    blocks = [compressor.compress(pack_frame(frame.ravel())) for frame in frames]
    return _assemble(code, frames.shape, step_m, blocks)


def _assemble(code: int, shape: tuple[int, ...], step_m: float, blocks: Sequence[bytes]) -> bytes:
    header = _HEADER.pack(_MAGIC, _VERSION, code, 0, *shape, step_m)
    header += b"".join(struct.pack("<II", len(block), zlib.crc32(block)) for block in blocks)
    return b"".join([header, struct.pack("<I", zlib.crc32(header)), *blocks])


def _pack_steps(steps: np.ndarray) -> bytes:
    returned = steps > 0
    source = np.where(returned, np.arange(len(steps)), 0)
    filled = steps[np.maximum.accumulate(source)]
    delta = np.diff(filled, prepend=np.uint16(0))
    return np.packbits(returned).tobytes() + _pack_planes(delta + np.uint16(_BIAS))


def _pack_planes(values: np.ndarray) -> bytes:
    return (values & 0xFF).astype(np.uint8).tobytes() + (values >> 8).astype(np.uint8).tobytes()


def _wanted_frames(header: StoredFrames, frames: Sequence[int] | None) -> Sequence[int]:
    if frames is None:
        return range(header.shape[0])
    outside = [frame for frame in frames if not 0 <= frame < header.shape[0]]
    if outside:
        raise DataError(f"no frame {outside[0]}", wanted=f"0 to {header.shape[0] - 1}")
    return frames


def _block(data: bytes, header: StoredFrames, frame: int) -> np.ndarray:
    """Return the uncompressed bytes of one frame, (n,) uint8."""
    import zstandard

    block = memoryview(data)[header.starts[frame] : header.starts[frame + 1]]
    if zlib.crc32(block) != header.crcs[frame]:
        raise DataError(f"frame {frame} fails its checksum", wanted="an intact file")
    pixels = header.shape[1] * header.shape[2]
    size = 2 * pixels + ((pixels + 7) // 8 if header.kind == "ranges" else 0)
    try:
        # a block that states its size is unpacked to that, whatever is asked for
        if zstandard.frame_content_size(block) not in (-1, size):
            raise DataError(f"frame {frame} holds another number of pixels", wanted=f"{size} bytes")
        raw = zstandard.ZstdDecompressor().decompress(block, max_output_size=size)
    except zstandard.ZstdError as error:
        raise DataError(f"frame {frame} does not decompress: {error}", wanted="an intact file") from error
    if len(raw) != size:
        raise DataError(f"frame {frame} holds {len(raw)} bytes", wanted=f"{size} bytes")
    return np.frombuffer(raw, np.uint8)


def _unpack_steps(raw: np.ndarray, pixels: int) -> np.ndarray:
    mask_bytes = (pixels + 7) // 8
    delta = _unpack_planes(raw[mask_bytes:])
    delta -= np.uint16(_BIAS)
    steps = _running_sum(delta)
    steps *= np.unpackbits(raw[:mask_bytes], count=pixels)
    return steps


def _unpack_planes(raw: np.ndarray) -> np.ndarray:
    low, high = raw[: len(raw) // 2], raw[len(raw) // 2 :]
    values = high.astype(np.uint16)
    values <<= 8
    values |= low
    return values


def _running_sum(values: np.ndarray) -> np.ndarray:
    """Return the running sum modulo 2^16, by torch: NumPy takes seven times as long, half of the whole decoding."""
    import torch

    return torch.cumsum(torch.from_numpy(values.view(np.int16)), 0, dtype=torch.int16).numpy().view(np.uint16)


def _unpack_all(data: bytes, kind: str, frames: Sequence[int] | None) -> np.ndarray:
    header = read_header(data, kind)
    wanted = _wanted_frames(header, frames)
    result = _room(header, len(wanted), np.uint16)
    for target, frame in zip(result, wanted, strict=True):
        target[...] = _unpack_planes(_block(data, header, frame)).reshape(target.shape)
    return result
