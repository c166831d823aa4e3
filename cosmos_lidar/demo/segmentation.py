"""Semantic segmentation from a few labeled sweeps, with the embedded self-supervised backbone and from scratch."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np

from cosmos_lidar import weights
from cosmos_lidar.clips import Clip
from cosmos_lidar.clips.label_maps import LabelMap, label_map_names, load_label_map
from cosmos_lidar.demo.recordings import Recordings
from cosmos_lidar.demo.section import DemoContext, LeftOutError, Section, embedded_model, train
from cosmos_lidar.families.also.semseg.config import SemsegTrainConfig
from cosmos_lidar.families.also.semseg.network import SegmentationNetwork
from cosmos_lidar.families.also.semseg.report import class_legend, error_image
from cosmos_lidar.families.also.semseg.score import ScoredSweep, SemsegScore, score_sweeps, sweeps_of_clips
from cosmos_lidar.models.sparse import load_backbone
from cosmos_lidar.progress import Meter
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.points_writer import write_points
from cosmos_lidar.training.overrides import config_beside, load_config
from cosmos_lidar.viz.images import caption_image
from cosmos_lidar.viz.report import Report

TITLE = "Semantic segmentation"
MODEL, FINE_TUNED = "small-backbone", "small-semseg"
WITH, WITHOUT = "with self-supervision", "without, from scratch"
REFERENCE = "small-semseg: both, more labels"
_FORMATS = {"release": "synth", "synth": "synth"}  # format of clips -> label map, where the names differ


def make_section(recordings: Recordings, context: DemoContext) -> Section:
    """Fine-tune the embedded backbone on a few labeled sweeps, train the same network from scratch, and compare.

    Raises:
        LeftOutError: no lidar, no labels, labels of unknown classes, or the model is not installed.
        TrainingStoppedError: by a signal; the next call resumes.
    """
    trained_on, held_out = recordings.train_labeled, recordings.held_out_labeled
    if not recordings.held_out:
        raise LeftOutError("the recordings have no lidar")
    if not trained_on or not held_out:
        raise LeftOutError("the recordings have no sweeps with semantic labels to train on, and others to measure on")
    backbone = embedded_model(MODEL)
    label_map = label_map_of(trained_on[0])
    folder = context.out / "segmentation"
    shards = _write_shards(trained_on, held_out, folder)
    run = _configuration(shards, folder, label_map, trained_on[0], context)
    shown: dict[str, ScoredSweep] = {}
    scores: dict[str, SemsegScore] = {}
    for name, checkpoint in ((WITH, str(backbone)), (WITHOUT, "")):
        one = replace(run, model=replace(run.model, checkpoint=checkpoint))
        one.log = replace(run.log, name="pretrained" if checkpoint else "scratch")
        scores[name], shown[name] = _train_and_score(one, held_out, label_map, name)
    reference = _reference(run, held_out, label_map)
    sentence = (
        f"A small {run.model.backbone} learns {len(label_map.classes) - 1} classes from {len(trained_on)} labeled "
        f"sweeps in {run.trainer.max_steps} steps, once from the embedded backbone, which was trained without labels "
        f"(ALSO), once from random weights; it is measured on {len(held_out)} other sweeps. Below: one of them."
    )
    measured = scores | ({REFERENCE: reference} if reference is not None else {})
    numbers = {name: score.to_dict() for name, score in measured.items()}

    def draw(report: Report) -> None:
        rows = [caption_image(error_image(shown[name]), name, 20, 8) for name in scores]
        report.image(
            np.concatenate([class_legend(scores[WITH]), *rows]),
            "From above, from left to right: true classes, predicted classes, errors (red).",
        )
        columns = ("all points", "mIoU %", "frequency-weighted IoU %", "accuracy %")
        note = "One run of each: a few percent are chance."
        report.table(columns, [(name, *_percents(score)) for name, score in measured.items()], note)

    return Section(TITLE, sentence, draw, _command(context.data, label_map), numbers)


def label_map_of(clip: Clip) -> LabelMap:
    """Return the label map of a recording's format.

    Raises:
        LeftOutError: there is none.
    """
    name = _FORMATS.get(clip.format, clip.format)
    if name not in label_map_names():
        raise LeftOutError(
            f"labels of {clip.format} recordings have no label map; there are {', '.join(label_map_names())}"
        )
    return load_label_map(name)


def _write_shards(trained_on: list[Clip], held_out: list[Clip], folder: Path) -> Path:
    lists = []
    folder.mkdir(parents=True, exist_ok=True)
    for name, clips in (("train", trained_on), ("val", held_out)):
        lists.append(folder / f"{name}.lst")
        lists[-1].write_text("".join(f"{clip.clip_id}\n" for clip in clips), encoding="utf-8")
    options = PrepareOptions(split_lists=tuple(lists), samples_per_shard=4)
    write_points([*trained_on, *held_out], folder / "points", options, labeled=True)
    return folder / "points"


def _configuration(
    shards: Path, folder: Path, label_map: LabelMap, clip: Clip, context: DemoContext
) -> SemsegTrainConfig:
    from cosmos_lidar.recipes.also_semseg import few_labels

    run = few_labels()
    steps = context.limited(run.trainer.max_steps)
    intensity = clip.lidar.cloud(0).intensity
    if intensity is None:
        raise LeftOutError("the sweeps have no intensities, which the embedded backbone takes")
    scale = 255.0 if float(intensity.max(initial=0.0)) > 1.0 else 1.0
    run.data = replace(run.data, path=str(shards), intensity_scale=scale)
    run.model = replace(run.model, label_map=label_map.name)
    run.trainer = replace(run.trainer, max_steps=steps)
    run.log = replace(run.log, root=str(folder / "runs"))
    return run


def _train_and_score(
    run: SemsegTrainConfig, held_out: list[Clip], label_map: LabelMap, name: str
) -> tuple[SemsegScore, ScoredSweep]:
    """Return the score of a training, and its first held-out sweep.

    Raises:
        LeftOutError: no held-out sweep can be scored.
        TrainingStoppedError: by a signal.
    """
    from cosmos_lidar.recipes.also_semseg import FAMILY

    result = train(FAMILY, run)
    file = result.folder / "checkpoints" / f"iter_{result.step:09d}_semseg.safetensors"
    score, scored = _score(file, run, held_out, label_map, name)
    if not scored:
        raise LeftOutError("; ".join(score.skipped.values()) or "no held-out sweep has labels")
    return score, scored[0]


def _reference(run: SemsegTrainConfig, held_out: list[Clip], label_map: LabelMap) -> SemsegScore | None:
    """Return the score of the embedded network that was trained with more labels; None where it has other classes."""
    if FINE_TUNED not in weights.names():
        return None
    file = weights.find(FINE_TUNED) / weights.FILE
    beside = config_beside(file)
    if beside is None:
        return None
    trained = load_config(SemsegTrainConfig, beside)
    if trained.model.label_map != label_map.name:
        return None
    own = replace(run, model=trained.model)
    return _score(file, own, held_out, label_map, FINE_TUNED)[0]


def _score(
    file: Path, run: SemsegTrainConfig, held_out: list[Clip], label_map: LabelMap, name: str
) -> tuple[SemsegScore, list[ScoredSweep]]:
    """Return the score of a network over held-out sweeps, and those that could be scored."""
    network = SegmentationNetwork(load_backbone(file, run.model.name, run.model.channels)).eval()
    sweeps = list(sweeps_of_clips(held_out))
    scored: list[ScoredSweep] = []
    with Meter(f"segment {name}", "sweeps", len(sweeps)) as meter:

        def on_sweep(sweep: ScoredSweep | None) -> None:
            meter.advance(1)
            scored.extend([] if sweep is None else [sweep])

        return score_sweeps(network, sweeps, run, label_map, on_sweep), scored


def _percents(score: SemsegScore) -> tuple[str, ...]:
    every = score.every
    return tuple(f"{100 * value:.1f}" for value in (every.mean_iou(), every.frequency_iou(), every.accuracy()))


def _command(data: Path | None, label_map: LabelMap) -> str:
    path = shlex.quote(str(data)) if data else "DATA"
    return (
        f"cosmos-lidar prepare {path} points --task points --split 0.8,0.2,0\n"
        f"cosmos-lidar train also_semseg recipe=few_labels data.path=points model.label_map={label_map.name}"
    )
