"""Post-training of the embedded lidar tokenizer: range errors before and after, beside 8 x 8 averages."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cosmos_lidar.clips import Clip
from cosmos_lidar.demo.recordings import Recordings
from cosmos_lidar.demo.section import DemoContext, LeftOutError, Section, embedded_model, train
from cosmos_lidar.families.lidar_tokenizer.autoencode import (
    AutoencodeOptions,
    Autoencoder,
    autoencode_frames,
    frame_points,
    full_directions,
)
from cosmos_lidar.families.lidar_tokenizer.evaluate import Evaluation, build_baseline, evaluate_clips
from cosmos_lidar.families.lidar_tokenizer.score import describe_protocol
from cosmos_lidar.log import logger
from cosmos_lidar.models.plan import count_parameters
from cosmos_lidar.models.tokenizer import load_tokenizer
from cosmos_lidar.models.tokenizer.pretrained import from_pretrained
from cosmos_lidar.progress import Meter
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.prepare import prepare_shards
from cosmos_lidar.training.engine import RunResult
from cosmos_lidar.viz.cloud_figure import Cloud, CloudFrame
from cosmos_lidar.viz.report import Comparison, Report

TITLE = "Lidar tokenizer"
MODEL = "small-lidar-tokenizer"
BEFORE, AFTER, AVERAGES = "before (embedded model)", "after post-training", "8 x 8 averages"
COLUMNS = ("on held-out sweeps", "RMSE m", "MAE m", "relative", "Chamfer m", "PSNR dB")
_FRAMES_EVALUATED = 10  # of each held-out clip


def make_section(recordings: Recordings, context: DemoContext) -> Section:
    """Post-train the embedded tokenizer on the recordings and measure it on held-out sweeps, through its exports.

    Raises:
        LeftOutError: no lidar, or the model is not installed.
        TrainingStoppedError: by a signal; the next call resumes.
    """
    if not recordings.held_out:
        raise LeftOutError("the recordings have no lidar")
    weights = embedded_model(MODEL)
    _write_shards(recordings, context.out)
    result = _train(context)
    export = result.folder / "checkpoints" / f"iter_{result.step:09d}"
    after = load_tokenizer((f"{export}_enc.jit", f"{export}_dec.jit"))
    networks = {AFTER: after, BEFORE: from_pretrained(weights).eval()}
    clips = recordings.held_out
    options = AutoencodeOptions(format=clips[0].sensor.format)
    results = _measure(networks, clips, options)
    protocol = describe_protocol(clips[0].sensor, options, "float32", _FRAMES_EVALUATED)
    steps, size = result.step, count_parameters(after)

    def draw(report: Report) -> None:
        sweep = _middle_sweep(networks, clips[0], options)
        report.range_maps([sweep[0]])
        report.point_clouds([sweep[1]], "All panels share one camera.")
        report.table(COLUMNS, _rows(results), f"Protocol {protocol['hash']}; all values in metrics.json.")

    sentence = (
        f"The embedded tokenizer ({size / 1e6:.1f} M parameters; the published one has 79.9 M) turns 8 x 8 pixels of a "
        f"range map into one latent; {steps} training steps on the other sweeps adapt it to sensor "
        f"{clips[0].sensor.name}. Below: a held-out sweep, recorded and reconstructed."
    )
    numbers = {name: found.to_dict() for name, found in results.items()} | {"protocol": protocol}
    return Section(TITLE, sentence, draw, _command(context.data), numbers)


def _write_shards(recordings: Recordings, out: Path) -> None:
    logger.info("shards: %s", out / "shards")
    lists = []
    for name, clips in (("train", recordings.train), ("val", recordings.held_out)):
        lists.append(out / f"{name}.lst")
        out.mkdir(parents=True, exist_ok=True)
        lists[-1].write_text("".join(f"{clip.clip_id}\n" for clip in clips), encoding="utf-8")
    prepare_shards(recordings.train + recordings.held_out, out / "shards", PrepareOptions(split_lists=tuple(lists)))


def _train(context: DemoContext) -> RunResult:
    from cosmos_lidar.recipes.lidar_tokenizer import FAMILY, post_training

    run = post_training()
    steps = context.limited(run.trainer.max_steps)
    every = min(run.trainer.val_every, max(steps // 4, 1))
    return train(
        FAMILY,
        replace(
            run,
            data=replace(run.data, path=str(context.out / "shards")),
            optim=replace(run.optim, decay_until=steps),
            trainer=replace(run.trainer, max_steps=steps, val_every=every),
            log=replace(run.log, root=str(context.out / "run")),
        ),
    )


def _measure(
    networks: Mapping[str, Autoencoder], clips: list[Clip], options: AutoencodeOptions
) -> dict[str, Evaluation]:
    candidates = {**networks, AVERAGES: build_baseline("resize", clips, options)}
    count = len(candidates) * sum(min(len(clip), _FRAMES_EVALUATED) for clip in clips)
    with Meter("evaluate the lidar tokenizer", "frames", count) as meter:
        return {
            name: evaluate_clips(candidate, clips, options, max_frames=_FRAMES_EVALUATED, on_frame=meter.advance)
            for name, candidate in candidates.items()
        }


def _rows(results: dict[str, Evaluation]) -> list[tuple[str, ...]]:
    rows = []
    for name, result in results.items():
        values: dict[str, Any] = json.loads(json.dumps(result.pooled.to_dict()))
        errors = result.pooled.errors.result().published
        numbers = (errors.rmse_m, errors.mae_m, errors.relative, values["chamfer"]["mean_m"], values["psnr_db"])
        rows.append((name, *("–" if number is None else f"{number:.3f}" for number in numbers)))
    return rows


def _middle_sweep(
    networks: Mapping[str, Autoencoder], clip: Clip, options: AutoencodeOptions
) -> tuple[Comparison, CloudFrame]:
    """Return a sweep beside what the trained network makes of it, and its points beside those of both networks."""
    directions, number = full_directions(clip.sensor, options), len(clip) // 2
    made = {name: autoencode_frames(network, clip, [number], options)[0] for name, network in networks.items()}
    after = made[AFTER]
    title = f"held-out sweep {after.frame_id}"
    clouds = [Cloud("Recorded", frame_points(after.reference_m, after.source, directions))]
    for name in (BEFORE, AFTER):
        frame = made[name]
        hit = frame.reconstruction_m > 0
        error = abs(frame.reconstruction_m - frame.reference_m)[hit]
        clouds.append(Cloud(name.capitalize(), frame_points(frame.reconstruction_m, frame.source, directions), error))
    return Comparison(title, after.reference_m, after.reconstruction_m), CloudFrame(title, clouds)


def _command(data: Path | None) -> str:
    path = shlex.quote(str(data)) if data else "DATA"
    return (
        f"cosmos-lidar prepare {path} shards --split 0.9,0.1,0\n"
        "cosmos-lidar train lidar_tokenizer recipe=post_training data.path=shards"
    )
