import base64
import json
import re

import numpy as np
import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.viz import Cloud, CloudFrame
from cosmos_lidar.viz.cloud_figure import clouds_html, color_table_html, gradient_css
from cosmos_lidar.viz.colormap import colormap_table


def unpack(html):
    about = json.loads(re.search(r'<script type="application/json">(\{"low".*?)</script>', html)[1])
    packed = base64.b64decode(re.search(r'<script type="application/base64">(.*?)</script>', html)[1])
    rows = np.frombuffer(packed, "<u2").reshape(-1, 4)
    xyz = np.asarray(about["low"]) + rows[:, :3] / 65535.0 * np.asarray(about["span"])
    error = np.where(rows[:, 3] == 65535, np.nan, rows[:, 3] / 65535.0 * about["maxError"])
    return about, xyz, error


def test_points_and_errors_survive_packing(page, comparisons):
    about, xyz, error = unpack(page)
    assert [frame["title"] for frame in about["frames"]] == [frame.title for frame in comparisons]
    assert about["kinds"] == ["height", "range", "error", "plain"]
    for described, frame in zip(about["frames"], comparisons, strict=True):
        first, second = described["clouds"]
        part = slice(first["offset"], first["offset"] + first["count"])
        np.testing.assert_allclose(xyz[part], frame.original_points, atol=0.002)
        assert np.isnan(error[part]).all()
        part = slice(second["offset"], second["offset"] + second["count"])
        np.testing.assert_allclose(xyz[part], frame.reconstruction_points, atol=0.002)
        shared = frame.original_m > 0
        wanted = np.where(shared, np.abs(frame.reconstruction_m - frame.original_m), np.nan)
        np.testing.assert_allclose(error[part], wanted[frame.reconstruction_m > 0], atol=1e-4)


def test_large_clouds_are_thinned_and_bad_points_left_out():
    points = np.random.default_rng(0).normal(0, 20, (5000, 3)).astype(np.float32)
    points[17] = np.nan
    about, xyz, error = unpack(clouds_html([CloudFrame("a", [Cloud("Sweep", points)])], most_points=1000))
    (cloud,) = about["frames"][0]["clouds"]
    assert (cloud["count"], cloud["total"], len(xyz)) == (1000, 5000, 1000)
    assert about["kinds"] == ["height", "range", "plain"]
    np.testing.assert_allclose(xyz[0], points[0], atol=0.002)
    np.testing.assert_allclose(xyz[-1], points[-1], atol=0.002)
    assert np.isnan(error).all()


def test_empty_clouds_make_a_figure():
    about, xyz, _ = unpack(clouds_html([CloudFrame("a", [Cloud("Sweep", np.zeros((0, 3)))])]))
    assert len(xyz) == 0
    assert all(np.isfinite(about["low"] + about["span"] + about["heights"] + [about["distance"], about["ground"]]))


def test_figures_that_cannot_be_drawn_are_refused():
    cloud = Cloud("Sweep", np.zeros((3, 3)))
    with pytest.raises(UserError, match="at least one frame with one cloud"):
        clouds_html([])
    with pytest.raises(UserError, match="same number of clouds"):
        clouds_html([CloudFrame("a", [cloud]), CloudFrame("b", [cloud, cloud])])
    with pytest.raises(UserError, match=r"'Sweep': 3 points but errors of shape \(2,\)"):
        clouds_html([CloudFrame("a", [Cloud("Sweep", np.zeros((3, 3)), np.zeros(2))])])
    with pytest.raises(UserError, match=r"shape \(N, 3 or more\), this array \(3, 2\)"):
        clouds_html([CloudFrame("a", [Cloud("Sweep", np.zeros((3, 2)))])])


def test_the_browser_and_the_legend_use_the_colors_of_turbo():
    table = base64.b64decode(re.search(r">(.*)</script>", color_table_html())[1])
    rgb = np.frombuffer(table, np.uint8).reshape(256, 3)
    assert np.abs(rgb / 255 - colormap_table("turbo")).max() <= 0.5 / 255 + 1e-9
    stops = re.findall(r"rgb\((\d+),(\d+),(\d+)\)", gradient_css("turbo"))
    assert [int(v) for v in stops[0]] == rgb[0].tolist()
    assert [int(v) for v in stops[-1]] == rgb[255].tolist()
