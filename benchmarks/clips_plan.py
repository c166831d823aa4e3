"""Plan of the conversion of many clips, from the rates of this machine: `benchmarks/clips.py --plan`.

Measured on clips of PhysicalAI-Autonomous-Vehicles that hold a synthetic street (Draco, 200,000 points with intensity,
128 x 3600): CPU time of reading a sweep, and of `prepare` per sweep, as the difference between a clip of many and a
clip of few sweeps, so that the index and other work that is done once does not count; bytes of a sweep in the shards.
The size of the source is the published one, 20 GB per 100 clips of 20 s.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from recordings.physicalai_av import write
from recordings.street import Street

from cosmos_lidar.clips import Clip, open_clips
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.prepare import prepare_shards

FRAMES_PER_SAMPLE, SAMPLES_PER_SHARD, LARGE_SHARD = 10, 64, 256
SOURCE_MB = 20_000 / (100 * 200)  # published: per sweep
_FEW = 2


@dataclass(frozen=True)
class Measured:
    """Of one sweep on one core.

    Attributes:
        read_s: CPU time of the reader.
        prepare_s: CPU time of `prepare`, with reading.
        shard_mb: in the shards.
        source_mb: in the recording.
    """

    read_s: float
    prepare_s: float
    shard_mb: float
    source_mb: float = SOURCE_MB


@dataclass(frozen=True)
class Job:
    """What is converted, and on how many cores."""

    clips: int = 100_000
    seconds: float = 20.0
    rate_hz: float = 10.0
    cores: int = 256

    @property
    def sweeps(self) -> int:
        """Sweeps of all clips."""
        return round(self.clips * self.seconds * self.rate_hz)

    @property
    def samples(self) -> int:
        """Samples of all clips: no sample holds sweeps of two clips."""
        return self.clips * math.ceil(self.seconds * self.rate_hz / FRAMES_PER_SAMPLE)


def plan_rows(found: Measured, job: Job) -> list[tuple[str, str, str]]:
    """Return rows of the plan: what, per sweep, and for all clips."""
    sweeps, samples = job.sweeps, job.samples
    source_gb, shard_gb = sweeps * found.source_mb / 1e3, sweeps * found.shard_mb / 1e3
    core_hours = sweeps * found.prepare_s / 3600
    wall_s = sweeps * found.prepare_s / job.cores
    sample_mb = sweeps * found.shard_mb / samples
    shards, large = (math.ceil(samples / each) for each in (SAMPLES_PER_SHARD, LARGE_SHARD))
    return [
        ("source (published: 20 GB per 100 clips)", f"{found.source_mb:.1f} MB", f"{source_gb / 1e3:.0f} TB"),
        ("shards: ranges in steps of 2 mm and intensity, zstd", f"{found.shard_mb:.2f} MB",
         f"{shard_gb / 1e3:.1f} TB"),
        ("reading alone (Draco)", f"{found.read_s:.3f} s", f"{sweeps * found.read_s / 3600:,.0f} core-hours"),
        ("`prepare`, with reading", f"{found.prepare_s:.3f} s",
         f"{core_hours:,.0f} core-hours: {wall_s / 3600:.1f} hours on {job.cores} cores"),
        (f"network for `prepare` on {job.cores} cores", "",
         f"reads {source_gb / wall_s:.1f} GB/s, writes {shard_gb / wall_s:.1f} GB/s"),
        (f"samples of {FRAMES_PER_SAMPLE} sweeps", "", f"{samples:,} of {sample_mb:.1f} MB"),
        (f"shards of {SAMPLES_PER_SHARD} samples (default)", "",
         f"{shards:,} of {sample_mb * SAMPLES_PER_SHARD / 1e3:.1f} GB"),
        (f"shards with `--samples-per-shard {LARGE_SHARD}`", "",
         f"{large:,} of {sample_mb * LARGE_SHARD / 1e3:.1f} GB"),
        ("readers (ranks x workers) at ten shards each", "", f"{shards // 10:,}; {large // 10:,}"),
    ]  # fmt: skip


def measure(street: Street, seconds: float) -> Measured:
    """Measure reading and `prepare` of a recording of the street.

    Args:
        street: with three sweeps at least.
        seconds: of CPU time for each of the three measurements, at least two rounds.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        clip = open_clips(write(root / "recording", street), format="physicalai_av")[0]
        few, numbers = _shortened(clip, _FEW), count()

        def prepare(one: Clip) -> Path:
            place = root / f"shards{next(numbers)}"
            prepare_shards([one], place, PrepareOptions(split=(1.0, 0.0, 0.0)))
            return place

        more = len(clip) - _FEW
        read_s = _least(lambda: [clip.read_sweep(index) for index in range(len(clip))], seconds) / len(clip)
        prepare_s = (_least(lambda: prepare(clip), seconds) - _least(lambda: prepare(few), seconds)) / more
        size = (_size(prepare(clip)) - _size(prepare(few))) / more
    return Measured(read_s, prepare_s, size / 1e6)


def _shortened(clip: Clip, frames: int) -> Clip:
    lidar = clip.lidar
    poses = None if lidar.world_SE3_lidar is None else lidar.world_SE3_lidar[:frames]
    return clip.with_lidar(
        frame_ids=lidar.frame_ids[:frames], timestamps_us=lidar.timestamps_us[:frames], world_SE3_lidar=poses
    )


def _least(work: Callable[[], object], seconds: float) -> float:
    """Return the shortest CPU time of some rounds, two at least."""
    best, started = math.inf, time.process_time()
    for number in count():
        if number > 1 and time.process_time() - started > seconds:
            return best
        before = time.process_time()
        work()
        best = min(best, time.process_time() - before)
    raise AssertionError


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*.tar"))
