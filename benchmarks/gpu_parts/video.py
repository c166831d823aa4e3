"""Video tokenizers: frames per second of CV8x8x8 and of the Wan2.1 VAE, encoding and decoding."""

from __future__ import annotations

from collections.abc import Iterator

import video_tokenizer
import wan_vae

from gpu_parts.common import Options, Row, attempts


def rows(options: Options) -> Iterator[Row]:
    """Yield frames per second and GiB, of 720p and 480p clips."""
    types = ("bfloat16", "float32") if options.device == "cuda" else ("float32",)
    modes = ("whole",) if options.device == "cpu" else ("compile", "channels_last", "whole")
    vae = {f"Wan2.1 VAE, {dtype}, window {window}": lambda way=(dtype, window): wan(options, *way)
           for dtype in types for window in (("4",) if options.tiny else ("4", "16"))}  # fmt: skip
    tokenizers = {f"CV8x8x8, {dtype}, {mode}": lambda way=(dtype, mode): cosmos(options, *way)
                  for dtype in types for mode in modes}  # fmt: skip
    yield from attempts(options, dict(_in_turn(list(tokenizers.items()), list(vae.items()))))


def cosmos(options: Options, dtype: str, mode: str) -> Row:
    """Measure CV8x8x8."""
    channels, frames, height, width = (16, 9, 32, 32) if options.tiny else (128, 17, 720, 1280)
    case = video_tokenizer.Case("CV8x8x8", channels, frames, height, width, options.device, dtype, mode)
    encode_ms, decode_ms, peak = video_tokenizer.measure(case, 1 if options.tiny else 3)
    return _row((frames, height, width), 1e3 / encode_ms, 1e3 / decode_ms, peak)


def wan(options: Options, dtype: str, window: str) -> Row:
    """Measure the Wan2.1 VAE."""
    width, frames, size = (8, 5, (32, 32)) if options.tiny else (96, 29, (480, 848))
    case = wan_vae.Case("", width, 1, 1, frames, *size, options.device, dtype, window, 256)
    found = wan_vae.measure(case, 1 if options.tiny else 3)
    return _row((frames, *size), found.encode, found.decode, max(found.encode_mib, found.decode_mib))


def _row(size: tuple[int, int, int], encode: float, decode: float, peak_mib: float) -> Row:
    shown = " x ".join(map(str, size))
    return {"size": shown, "encode_frames_s": encode, "decode_frames_s": decode, "peak_gib": peak_mib / 1024}


def _in_turn(*lists: list) -> Iterator:
    """Yield the first of each list, then the second of each, and so on."""
    for number in range(max(map(len, lists))):
        for one in lists:
            yield from one[number : number + 1]
