"""The lidar tokenizer on full-size range maps: types and modes, beside its own TorchScript export."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import tokenizer  # the benchmark of that name
import torch

from cosmos_lidar.models.tokenizer import build_tokenizer
from cosmos_lidar.models.tokenizer.export import export_jit
from gpu_parts.common import Options, Row, attempts, seconds_of

WAYS = [("bfloat16", "compile"), ("float32", "eager"), ("bfloat16", "eager"), ("bfloat16", "channels_last"),
        ("float32", "channels_last"), ("float32", "compile")]  # fmt: skip
ON_CPU = [("float32", "eager"), ("float32", "channels_last")]


def rows(options: Options) -> Iterator[Row]:
    """Yield ms to encode and to decode, maps per second of both, the first call's seconds, and GiB."""
    ways = WAYS if options.device == "cuda" else ON_CPU
    works = {f"{dtype}, {mode}": lambda way=(dtype, mode): measure(options, *way) for dtype, mode in ways[:2]}
    works |= {f"{dtype}, TorchScript": lambda dtype=dtype: script(options, dtype) for dtype in {ways[0][0], "float32"}}
    works |= {f"{dtype}, {mode}": lambda way=(dtype, mode): measure(options, *way) for dtype, mode in ways[2:]}
    yield from attempts(options, works)


def sizes(options: Options) -> tuple[int, int, int]:
    """Return channels, height and width."""
    return (32, 64, 128) if options.tiny else (128, 512, 1800)


def measure(options: Options, dtype: str, mode: str) -> Row:
    """Measure one way."""
    channels, height, width = sizes(options)
    case = tokenizer.Case("CI8x8", 512, channels, height, width, 1, options.device, dtype, mode)
    found = tokenizer.measure(case, 1 if options.tiny else 10)
    return _row(found.encode_s, found.decode_s, found.first_s) | {"peak_gib": found.peak_mib / 1024}


def script(options: Options, dtype: str) -> Row:
    """Measure the exported encoder and decoder, as the published program runs them."""
    channels, height, width = sizes(options)
    network = build_tokenizer("CI8x8", resolution=512, channels=channels).eval()
    with tempfile.TemporaryDirectory() as folder:
        files = export_jit(network, folder)
        halves = [torch.jit.load(file, map_location=options.device).to(getattr(torch, dtype)) for file in files[:2]]
    x = torch.rand(1, 3, height, width, device=options.device, dtype=getattr(torch, dtype)) * 2 - 1
    before = tokenizer.start_counting_memory(options.torch_device)
    with torch.inference_mode():
        z = halves[0](x)[0]
        times = [seconds_of(work, options.torch_device, 1 if options.tiny else 10)
                 for work in (lambda: halves[0](x), lambda: halves[1](z))]  # fmt: skip
    peak = tokenizer.peak_mib(options.torch_device) - before
    return _row(times[0][1], times[1][1], times[0][0] + times[1][0]) | {"peak_gib": peak / 1024}


def _row(encode_s: float, decode_s: float, first_s: float) -> Row:
    speed = {"encode_ms": 1e3 * encode_s, "decode_ms": 1e3 * decode_s, "maps_s": 1 / (encode_s + decode_s)}
    return {**speed, "first_s": first_s}
