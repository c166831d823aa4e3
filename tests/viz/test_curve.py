import json
import re

import numpy as np
import pytest

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.viz import Report
from cosmos_lidar.viz.curve import Series, curve_html, read_series, smooth, thin, ticks


def test_curve_shows_every_series_and_its_last_value(metrics_csv):
    series = read_series(metrics_csv)
    assert sorted(series) == ["loss", "lr", "val_loss"]
    assert series["val_loss"].steps.tolist() == [0, 50, 100, 150]
    html = Report("a").curve(metrics_csv, {"loss": "Training", "val_loss": "Validation"}).html()
    data = json.loads(re.search(r'<script type="application/json">(\{"first".*?)</script>', html)[1])
    assert (data["first"], data["last"]) == (0, 199)
    assert [one["name"] for one in data["series"]] == ["Training", "Validation"]
    assert data["series"][1]["values"] == [0.5] * 4
    assert html.count("<path") == 3  # the long one has a faint line and its mean
    assert "Validation <b>0.5</b>" in html


def test_curve_corners_lie_where_the_axes_say():
    html = curve_html({"loss": Series(np.array([0.0, 50.0, 100.0]), np.array([4.0, 1.0, 2.0]))}, log=False)
    corners = [tuple(map(float, pair.split(","))) for pair in re.search(r'd="M([^"]*)"', html)[1].split()]
    top = 4.0 + 0.06 * 3.0
    wanted = [(0, 4.0), (50, 1.0), (100, 2.0)]
    low = 0.0  # the values start low enough for the axis to begin at zero
    assert corners == [(x, pytest.approx(100 * (1 - (y - low) / (top - low)), abs=0.01)) for x, y in wanted]


def test_ticks_are_round_and_inside():
    assert ticks(0.0, 1.0, False) == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert ticks(0.03, 0.9, True) == pytest.approx([0.05, 0.1, 0.2, 0.5])
    assert ticks(0, 1998, False) == [0, 500, 1000, 1500]
    assert len(ticks(1e-6, 10.0, True)) >= 2


def test_smoothing_and_thinning():
    values = np.arange(100.0)
    assert np.allclose(smooth(values, 5)[:90], values[:90])  # a straight line stays one
    assert smooth(np.ones(7), 3).tolist() == [1.0] * 7
    kept = thin(Series(values, values), 10)
    assert (len(kept.steps), kept.steps[0], kept.steps[-1]) == (10, 0, 99)


def test_wrong_metrics_files_are_named(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,loss\n1,2\n")
    with pytest.raises(DataError, match="no column step.*metrics.csv.*key step"):
        read_series(path)
    path.write_text("step,loss\n1,two\n")
    with pytest.raises(DataError, match="two.*metrics.csv.*key loss"):
        read_series(path)
    path.write_text("step,accuracy\n1,2\n")
    with pytest.raises(UserError, match="no values of a loss to draw: there are accuracy"):
        Report("a").curve(path)
