"""Generate videos of several views and write them: the Python API of ``cosmos-lidar generate-views``."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from cosmos_lidar.errors import DataError, problem_of
from cosmos_lidar.families.multiview.generator import ViewGenerator
from cosmos_lidar.families.multiview.inputs import ViewInput
from cosmos_lidar.families.multiview.outputs import Layout, is_finished, write_clip
from cosmos_lidar.files import file_sha256
from cosmos_lidar.log import logger
from cosmos_lidar.parallel.work_sharing import Share
from cosmos_lidar.progress import Meter

_TIMED = 3  # runs of a benchmark that count, after one that does not


@dataclass(frozen=True)
class ViewOutput:
    """What is written.

    Attributes:
        folder: for the files.
        seed: of every clip; segment n of a clip is sampled with seed + n.
        fps: of network and videos; 0 for that of each clip.
        layout: of the video of all views.
        overwrite: replace what other settings made.
        benchmark: generate each clip four times and time the last three, as published; also clips that are there.
    """

    folder: Path
    seed: int = 0
    fps: float = 0.0
    layout: Layout = "grid"
    overwrite: bool = False
    benchmark: bool = False


@dataclass(frozen=True)
class Generated:
    """Outcome of :func:`generate_views`, on each rank for its own clips.

    Attributes:
        written: names of the clips.
        kept: names of those that were there, made with the same settings.
        errors: number of the clip -> problem.
        seconds: name of a clip -> mean time to generate it; of a benchmark alone.
    """

    written: tuple[str, ...]
    kept: tuple[str, ...]
    errors: dict[str, str]
    seconds: dict[str, float] = field(default_factory=dict)


def generate_views(
    clips: Iterable[Callable[[], ViewInput]],
    generator: ViewGenerator,
    output: ViewOutput,
    weights: dict[str, str],
    share: Share | None = None,
    total: int = 0,
) -> Generated:
    """Generate a video for each clip and write it; clips that the same settings made already are kept.

    After any interruption the same call writes what is missing. A clip that cannot be generated is reported, and ends
    no work on the others.

    Args:
        clips: each returns an input of :mod:`~cosmos_lidar.families.multiview.inputs`, and may raise.
        generator: see :func:`~cosmos_lidar.families.multiview.generator.open_view_generator`.
        output: what is written.
        weights: what identifies the weights, for the record: see :func:`weights_record`.
        share: the part of the clips that this rank generates; None: all.
        total: clips, for the progress; 0 where not known.

    Raises:
        UserError: a clip was made with other settings, without ``overwrite``.
    """
    share, written, kept, errors = share or Share(0, 1), [], [], {}
    seconds: dict[str, float] = {}
    base: dict[str, Any] = {**asdict(generator.sampling), **weights, "seed": output.seed}
    base |= {"view_ids": list(generator.data.view_ids), "layout": output.layout}
    with Meter("generate-views", "clips", total or None) as meter:
        for number, open_clip in enumerate(clips):
            if number % share.world != share.rank:
                continue
            try:
                given = open_clip()
                fps = output.fps or given.fps
                settings = base | {"fps": fps, "captions": list(given.captions)}
                settings |= {"controls": list(given.controls)} if given.controls else {}
                settings |= {"sweeps": True} if given.sweeps is not None else {}
                if is_finished(output.folder, given.name, settings, output.overwrite) and not output.benchmark:
                    kept.append(given.name)
                    meter.advance(1)
                    continue
                runs = 1 + _TIMED if output.benchmark else 1
                video, took = _timed(partial(generator, given, output.seed, fps), runs)
            except DataError as error:  # one odd clip ends no work on the others
                logger.warning("clip %d is skipped: %s", number, problem_of(error))
                errors[str(number)] = problem_of(error)
                continue
            if share.writes:
                write_clip(output.folder, given, video, fps, output.layout, settings)
            written.append(given.name)
            seconds |= {given.name: statistics.mean(took[1:])} if output.benchmark else {}
            meter.advance(1)
    return Generated(tuple(written), tuple(kept), errors, seconds)


def weights_record(checkpoint: Path, ema: bool, adapters: Sequence[Path], vae: Path, dtype: str) -> dict[str, str]:
    """Return what identifies weights in the record of a clip: names and SHA-256 of files."""
    record = {"checkpoint": _identity(checkpoint), "weights": "ema" if ema else "plain", "vae": _identity(vae)}
    record["adapters"] = ", ".join(_identity(path) for path in adapters)
    return record | {"precision": dtype}


def _timed(generate: Callable[[], Tensor], runs: int) -> tuple[Tensor, list[float]]:
    """Return a video, which is the same in all runs, and the seconds of each."""
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        video = generate()  # on the CPU: a GPU is done with it
        seconds.append(time.perf_counter() - started)
    return video, seconds


def _identity(path: Path) -> str:
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    return f"{path.name} " + " ".join(file_sha256(file)[:16] for file in files)
