"""The demo's report: numbers on held-out clips, training curve, range maps, point clouds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cosmos_lidar.clips import Clip
from cosmos_lidar.demo.recordings import Recordings
from cosmos_lidar.families.lidar_tokenizer.autoencode import (
    AutoencodeOptions,
    autoencode_clip,
    autoencode_frames,
    frame_points,
    full_directions,
)
from cosmos_lidar.families.lidar_tokenizer.evaluate import Evaluation, build_baseline, evaluate_clips
from cosmos_lidar.families.lidar_tokenizer.outputs import OutputOptions, published_limits, write_outputs
from cosmos_lidar.families.lidar_tokenizer.score import ClipScore, describe_protocol
from cosmos_lidar.files import write_json
from cosmos_lidar.models.plan import count_parameters
from cosmos_lidar.models.tokenizer import load_tokenizer
from cosmos_lidar.models.tokenizer.network import make_tokenizer
from cosmos_lidar.progress import Meter
from cosmos_lidar.viz.report import Comparison, write_report

if TYPE_CHECKING:
    from torch import nn

TRAINED = "trained tokenizer"
_FRAMES_SHOWN = 4
_FRAMES_EVALUATED = 10  # of each held-out clip
_COLUMNS = ("on held-out sweeps", "RMSE m", "MAE m", "relative", "Chamfer m", "PSNR dB")


def write_page(out: Path, recordings: Recordings, exports: Path) -> Path:
    """Autoencode the held-out clips through the exported files and write ``OUT/report.html``.

    Args:
        out: folder of the demo.
        recordings: the held-out clips are shown and measured, the training clips make the mean-map baseline.
        exports: path of the TorchScript pair without ``_enc.jit`` and ``_dec.jit``.

    Returns:
        The page.
    """
    network = load_tokenizer((f"{exports}_enc.jit", f"{exports}_dec.jit"))
    clips = recordings.held_out
    options = AutoencodeOptions(format=clips[0].sensor.format)
    results = _measure(network, recordings, options)
    protocol = describe_protocol(clips[0].sensor, options, "float32", _FRAMES_EVALUATED)
    document = {name: result.to_dict() for name, result in results.items()} | {"protocol": protocol}
    write_json(out / "metrics.json", document)
    _write_first_clip(network, clips[0], options, out / "autoencode")
    trained = results[TRAINED].pooled
    errors = trained.errors.result().published
    size = count_parameters(network)
    return write_report(
        out / "report.html",
        "Lidar tokenizer: demo",
        subtitle=f"sensor {clips[0].sensor.name}, {clips[0].sensor.rows} x {clips[0].sensor.columns}",
        summary=f"{recordings.remark}\n\nA network of {size / 1e6:.1f} M parameters was trained on a CPU for minutes; "
        "the full tokenizer has 79.9 M. Everything below is measured on held-out sweeps, through the exported files.",
        tiles=[
            ("RMSE", f"{errors.rmse_m:.2f} m", "root mean square range error"),
            ("MAE", f"{errors.mae_m:.2f} m", "mean absolute range error"),
            ("Relative", f"{100 * errors.relative:.1f} %", "mean of error / range"),
            ("Speed", f"{trained.frames / trained.seconds:.1f} sweeps/s", "encode and decode on this machine"),
        ],
        tables=[(f"Protocol {protocol['hash']}; all values in metrics.json", _COLUMNS, _rows(results))],
        metrics_csv=exports.parent.parent / "metrics.csv",
        frames=_comparisons(network, clips, options),
    )


def _measure(network: nn.Module, recordings: Recordings, options: AutoencodeOptions) -> dict[str, Evaluation]:
    clips = recordings.held_out
    count = 4 * sum(min(len(clip), _FRAMES_EVALUATED) for clip in clips)
    candidates = {
        TRAINED: network,
        "before training": make_tokenizer(network.config).eval(),
        "mean training map": build_baseline("mean", recordings.train, options, _FRAMES_EVALUATED),
        "8 x 8 averages": build_baseline("resize", clips, options),
    }
    with Meter("evaluate", "frames", count) as meter:
        return {
            name: evaluate_clips(candidate, clips, options, max_frames=_FRAMES_EVALUATED, on_frame=meter.advance)
            for name, candidate in candidates.items()
        }


def _rows(results: dict[str, Evaluation]) -> list[tuple[str, ...]]:
    rows = []
    for name, result in results.items():
        values = json.loads(json.dumps(result.pooled.to_dict()))
        errors = result.pooled.errors.result().published
        numbers = (errors.rmse_m, errors.mae_m, errors.relative, values["chamfer"]["mean_m"], values["psnr_db"])
        rows.append((name, *("-" if number is None else f"{number:.3f}" for number in numbers)))
    return rows


def _write_first_clip(network: nn.Module, clip: Clip, options: AutoencodeOptions, folder: Path) -> None:
    """Write videos, images and point files of one held-out clip, as ``cosmos-lidar autoencode`` does."""
    score = ClipScore(options, full_directions(clip.sensor, options))
    frames = autoencode_clip(network, clip, options, _FRAMES_EVALUATED)
    (middle,) = autoencode_frames(network, clip, [min(len(clip), _FRAMES_EVALUATED) // 2], options)
    write_outputs(clip.clip_id, frames, score, published_limits(middle), OutputOptions(folder))


def _comparisons(network: nn.Module, clips: list[Clip], options: AutoencodeOptions) -> list[Comparison]:
    directions = full_directions(clips[0].sensor, options)
    shown = []
    for clip in clips[:_FRAMES_SHOWN]:
        wanted = set(np.linspace(0, len(clip) - 1, max(1, _FRAMES_SHOWN // len(clips))).astype(int).tolist())
        for index, frame in enumerate(autoencode_clip(network, clip, options, max(wanted) + 1)):
            if index in wanted:
                shown.append(
                    Comparison(
                        f"{clip.clip_id} · {frame.frame_id}",
                        frame.reference_m,
                        frame.reconstruction_m,
                        frame_points(frame.reference_m, frame.source, directions),
                        frame_points(frame.reconstruction_m, frame.source, directions),
                    )
                )
    return shown
