"""HTML report of semantic segmentation: IoU by class, confusion matrix, and sweeps with their errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cosmos_lidar.families.also.semseg.score import ScoredSweep, SemsegScore
from cosmos_lidar.viz.cloud_figure import Cloud, CloudFrame
from cosmos_lidar.viz.confusion import confusion_image
from cosmos_lidar.viz.label_colors import UNLABELED, class_colors
from cosmos_lidar.viz.point_cloud import bird_view_image
from cosmos_lidar.viz.report import Report

_RIGHT, _WRONG = (70, 78, 92), (240, 60, 50)
_VIEW_PX = 480


def write_semseg_report(path: Path, score: SemsegScore, sweeps: Sequence[ScoredSweep], subtitle: str) -> Path:
    """Write the report of an evaluation.

    Args:
        path: HTML file to write.
        score: with at least one labeled point.
        sweeps: to show, with the errors of their points.
        subtitle: checkpoint and data.
    """
    report = Report("Semantic segmentation", subtitle)
    report.heading("Results").tiles(_tiles(score)).table(*_table(score))
    report.heading("Confusion matrix")
    caption = "All points: true classes by row, predicted classes by column, percent of each row."
    report.image(confusion_image(score.every.counted, score.classes), caption)
    if sweeps:
        report.heading("Sweeps")
        report.image(np.concatenate([class_legend(score), *map(error_image, sweeps)]), _VIEWS)
        frames = [CloudFrame(sweep.name, [Cloud("Errors", sweep.points, _errors(sweep))]) for sweep in sweeps]
        report.point_clouds(frames, "Error colors: 1 where the class is wrong, 0 where it is right.")
    return report.write(path)


_VIEWS = "From above, from left to right: true classes, predicted classes, errors (red: wrong, gray: not labeled)."


def error_image(sweep: ScoredSweep) -> np.ndarray:
    """Return (480, 1440, 3) uint8: a sweep from above in its true classes, its predicted ones, and its errors."""
    extent = 1.1 * float(np.quantile(np.abs(sweep.points[:, :2]).max(1), 0.9))
    wrong = np.where((sweep.predicted != sweep.truth)[:, None], _WRONG, _RIGHT).astype(np.uint8)
    wrong[sweep.truth == 0] = UNLABELED
    colors = (class_colors(sweep.truth), class_colors(sweep.predicted), wrong)
    views = [
        bird_view_image(sweep.points, colors=one, half_extent_m=extent, size_px=_VIEW_PX, point_px=2) for one in colors
    ]
    return np.concatenate(views, axis=1)


def _errors(sweep: ScoredSweep) -> np.ndarray:
    """Return (N,) 1 for wrong points, 0 for right ones, NaN for those without a class."""
    return np.where(sweep.truth == 0, np.nan, sweep.predicted != sweep.truth).astype(np.float32)


def class_legend(score: SemsegScore) -> np.ndarray:
    """Return (H, 1440, 3) uint8: the color and the name of each class that occurs."""
    from cosmos_lidar.viz.images import draw_text

    counts = score.every.counted
    there = np.flatnonzero(counts.sum(0) + counts.sum(1))
    columns, row_px = 6, 22
    width = 3 * _VIEW_PX // columns
    image = np.zeros((row_px * -(-len(there) // columns), 3 * _VIEW_PX, 3), np.uint8)
    for place, (label, color) in enumerate(zip(there, class_colors(there), strict=True)):
        top, left = place // columns * row_px, place % columns * width
        image[top + 6 : top + 16, left + 6 : left + 16] = color
        image = draw_text(image, score.classes[label], (left + 22, top + row_px / 2), 13, anchor="lm")
    return image


def _tiles(score: SemsegScore) -> list[tuple[str, str, str]]:
    every, decimated = score.every, score.decimated
    return [
        ("mIoU", f"{100 * every.mean_iou():.1f} %", f"all {int(every.counted.sum()):,} labeled points"),
        ("mIoU, decimated", f"{100 * decimated.mean_iou():.1f} %", "one point per cell, as published"),
        ("accuracy", f"{100 * every.accuracy():.1f} %", "all labeled points"),
        ("sweeps", f"{score.sweeps:,}", f"{len(score.skipped)} skipped, {score.without_labels} without labels"),
    ]


def _table(score: SemsegScore) -> tuple[list[str], list[list[object]]]:
    columns = ["class", "IoU %", "IoU %, decimated", "points", "predicted points"]
    counts, iou, decimated = score.every.counted, score.every.iou(), score.decimated.iou()
    rows: list[list[object]] = [
        [name, 100 * iou[n], 100 * decimated[n], int(counts[n].sum()), int(counts[:, n].sum())]
        for n, name in enumerate(score.classes)
        if n
    ]
    return columns, rows
