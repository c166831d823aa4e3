"""Report of segmentation: numbers, errors in red."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cosmos_lidar.families.also.semseg.report import error_image, write_semseg_report
from cosmos_lidar.families.also.semseg.score import ScoredSweep, SemsegScore
from cosmos_lidar.metrics.iou import ConfusionMatrix
from cosmos_lidar.viz.label_colors import class_colors

RED = (240, 60, 50)


def sweep() -> ScoredSweep:
    points = np.array([[2, 2, 0], [-2, 2, 0], [2, -2, 0]], np.float32)
    return ScoredSweep("a", points, np.array([1, 2, 0]), np.array([1, 1, 2]))


def has(image: np.ndarray, color: tuple[int, ...]) -> bool:
    return bool((image == np.array(color, np.uint8)).all(-1).any())


def test_wrong_points_are_red_and_unlabeled_ones_are_not():
    truth, predicted, errors = np.split(error_image(sweep()), 3, axis=1)
    assert int((errors == np.array(RED, np.uint8)).all(-1).sum()) == 4  # one point of 2 x 2 pixels
    assert has(truth, class_colors(np.array([2]))[0])
    assert has(predicted, class_colors(np.array([2]))[0])
    assert not has(truth, RED)


def test_the_page_has_table_matrix_and_sweeps(tmp_path: Path):
    score = SemsegScore(("none", "car", "road"), ConfusionMatrix(3), ConfusionMatrix(3), sweeps=1)
    score.every.add(np.array([1, 1, 2]), np.array([1, 2, 2]))
    page = write_semseg_report(tmp_path / "report.html", score, [sweep()], "weights on data").read_text()
    assert "<td>car</td><td>50</td>" in page
    assert "weights on data" in page
    assert page.count("data:image/png") == 2
    assert "application/json" in page  # the figure that can be turned
    without = write_semseg_report(tmp_path / "few.html", score, [], "").read_text()
    assert without.count("data:image/png") == 1
