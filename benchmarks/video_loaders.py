"""How fast clips come out of video files and shards: frames per second of one clip of a random place in a video.

    OMP_NUM_THREADS=1 python benchmarks/video_loaders.py VIDEO.mp4

``whole file`` decodes all frames to keep a few, as the published recipe does; ``window`` decodes from the key frame
before the clip; ``torchcodec`` does the same with that library, where it can be loaded; ``loader`` is the training
loader with shuffling and cropping, over shards of the same file. Decoders take turns; the median counts. Frames are
those of the clips.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from tokenizer import machine  # the benchmark beside this one

from cosmos_lidar.clips.video import VideoFile
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.videos import find_videos, prepare_videos


def whole_file(content: bytes, start: int, frames: int) -> np.ndarray:
    """Decode everything, keep the clip."""
    video = VideoFile(Path("video.mp4"), content=content)
    return np.stack([video(index) for index in range(len(video))][start : start + frames])


def window(content: bytes, start: int, frames: int) -> np.ndarray:
    """Decode the clip alone."""
    video = VideoFile(Path("video.mp4"), content=content)
    return np.stack([video(index) for index in range(start, start + frames)])


def torchcodec(content: bytes, start: int, frames: int) -> np.ndarray:
    """Decode the clip alone, with torchcodec."""
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(content, num_ffmpeg_threads=1, dimension_order="NHWC")
    return decoder.get_frames_in_range(start, start + frames).data.numpy()


def usable() -> dict[str, Callable]:
    """Return the available decoders; prints those that are not."""
    found = {"whole file": whole_file, "window": window}
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        sys.stdout.write(f"torchcodec cannot be loaded here: {str(error).splitlines()[0]:.100}\n")
    else:
        found["torchcodec"] = torchcodec
    return found


def loader_rate(path: Path, frames: int, size: int, workers: int, clips: int) -> float:
    """Return frames per second of the training loader, after a first clip."""
    from energon_tasks.videos import Window, video_loader

    with tempfile.TemporaryDirectory() as folder:
        (source,) = find_videos(path)
        copies = [replace(source, key=f"{number:02d}", drive=str(number)) for number in range(8)]
        prepare_videos(copies, Path(folder) / "shards", PrepareOptions(split=(1.0,), samples_per_shard=2))
        window = Window(frames, size)
        reader = iter(video_loader(Path(folder) / "shards", "train", batch_size=1, training=True, window=window, rank=0,
                                   world_size=1, num_workers=workers, shuffle_buffer=4))  # fmt: skip
        next(reader)
        started = time.perf_counter()
        for _ in range(clips):
            next(reader)
        return clips * frames / (time.perf_counter() - started)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    args, out = parser.parse_args(), sys.stdout.write
    content = args.video.read_bytes()
    first = VideoFile(args.video)
    height, width = first(0).shape[:2]
    out(f"{len(first)} frames of {height} x {width}, clips of {args.frames}; {machine('cpu')}\n")
    rng, decoders = np.random.default_rng(0), usable()
    times: dict[str, list[float]] = {name: [] for name in decoders}
    for _ in range(args.repeats):
        start = int(rng.integers(len(first) - args.frames + 1))
        for name, decode in decoders.items():
            begun = time.perf_counter()
            decode(content, start, args.frames)
            times[name].append(time.perf_counter() - begun)
    slowest = statistics.median(times["whole file"])
    out("\n| way | frames/s | ratio |\n|---|---|---|\n")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        out(f"| {name} | {args.frames / median:.0f} | {slowest / median:.1f} |\n")
    for workers in (0, 2):
        rate = loader_rate(args.video, args.frames, args.size, workers, 4 * args.repeats)
        out(f"| loader, {workers} workers | {rate:.0f} | {rate * slowest / args.frames:.1f} |\n")


if __name__ == "__main__":
    main()
