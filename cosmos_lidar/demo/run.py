"""Stages of the demo, in order; each writes its result to the output folder, where a second call resumes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_lidar.clips import Clip
from cosmos_lidar.clips.writers.release import write_release
from cosmos_lidar.demo.recordings import Recordings, real_recordings, synthetic_recordings
from cosmos_lidar.log import logger
from cosmos_lidar.progress import Meter
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.prepare import prepare_shards

if TYPE_CHECKING:
    from cosmos_lidar.families.lidar_tokenizer.config import LidarTokenizerTrainConfig


@dataclass(frozen=True)
class DemoOptions:
    """Options of the demo.

    Attributes:
        out: folder of all results.
        data: recordings; None makes synthetic drives.
        format: reader of ``data``; None recognizes it.
        drives: number of synthetic drives.
        steps: training steps; None takes the recipe's.
        lidar: which of ``data``, where it has several; None takes the main one.
    """

    out: Path
    data: Path | None = None
    format: str | None = None
    drives: int = 6
    steps: int | None = None
    lidar: str | None = None


def run_demo(options: DemoOptions) -> int:
    """Recordings -> shards -> training -> export -> autoencoding of held-out clips -> ``report.html``.

    Returns:
        0, or the number of the signal that stopped the training, whose checkpoint the next call continues from.
    """
    from cosmos_lidar.demo.page import write_page

    logger.info("1/5 recordings")
    recordings = _recordings(options)
    logger.info("2/5 shards: %s", options.out / "shards")
    _shards(recordings, options.out)
    logger.info("3/5 training, and 4/5 export: %s", options.out / "run")
    run = _training(options)
    signal, exports = _train(run)
    if signal:
        logger.info("stopped after a checkpoint: the same command resumes from it")
        return signal
    logger.info("5/5 autoencode held-out clips with the exported tokenizer")
    write_page(options.out, recordings, exports)
    logger.info("done: open %s", (options.out / "report.html").resolve())
    return 0


def _recordings(options: DemoOptions) -> Recordings:
    """Return the recordings; synthetic sweeps are computed once and then read back from ``OUT/drives``."""
    if options.data is not None:
        found = real_recordings(options.data, options.format, options.lidar)
    else:
        found = synthetic_recordings(options.drives)
    folder = options.out / "drives"
    made = [clip for clip in found.train + found.held_out if clip.format == "synth"]
    todo = [clip for clip in made if not (folder / "metadata" / f"{clip.clip_id}.npz").is_file()]
    with Meter("synth", "frames", sum(len(clip) for clip in todo)) as meter:
        for clip in todo:
            write_release(folder, clip.with_lidar(read=_counted(clip, meter)))
    written = {clip.clip_id: clip for clip in _read_back(folder, made)}
    train, held_out = ([written.get(clip.clip_id, clip) for clip in part] for part in found[:2])
    return Recordings(train, held_out, found.remark)


def _read_back(folder: Path, made: list[Clip]) -> list[Clip]:
    from cosmos_lidar.clips import open_clips

    if not made:
        return []
    return [clip.with_lidar(sensor=made[0].sensor) for clip in open_clips(folder, "release")]


def _counted(clip: Clip, meter: Meter):  # noqa: ANN202 - a reader of sweeps
    def read(index: int) -> object:
        meter.advance(1)
        return clip.read_sweep(index)

    return read


def _shards(recordings: Recordings, out: Path) -> None:
    lists = []
    for name, clips in (("train", recordings.train), ("val", recordings.held_out)):
        lists.append(out / f"{name}.lst")
        out.mkdir(parents=True, exist_ok=True)
        lists[-1].write_text("".join(f"{clip.clip_id}\n" for clip in clips), encoding="utf-8")
    prepare_shards(recordings.train + recordings.held_out, out / "shards", PrepareOptions(split_lists=tuple(lists)))


def _training(options: DemoOptions) -> LidarTokenizerTrainConfig:
    from cosmos_lidar.recipes.lidar_tokenizer import demo

    run = demo()
    steps = run.trainer.max_steps if options.steps is None else options.steps
    every = min(run.trainer.val_every, max(steps // 4, 1))
    trainer = replace(run.trainer, max_steps=steps, val_every=every)
    data = replace(run.data, path=str(options.out / "shards"))
    optim = replace(run.optim, decay_until=steps)
    return replace(run, data=data, optim=optim, trainer=trainer, log=replace(run.log, root=str(options.out / "run")))


def _train(run: LidarTokenizerTrainConfig) -> tuple[int, Path]:
    """Train; returns the signal that stopped training, and the path of the last exports without suffixes."""
    from cosmos_lidar.recipes.lidar_tokenizer import FAMILY

    result = FAMILY.train(run)
    return result.signal, result.folder / "checkpoints" / f"iter_{result.step:09d}"
