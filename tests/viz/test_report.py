import base64
import io
import json
import re

import numpy as np
import pytest

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.viz import Cloud, CloudFrame, Comparison, Report, comparison_clouds, write_report
from cosmos_lidar.viz.cloud_figure import clouds_html
from cosmos_lidar.viz.curve import Series, curve_html, read_metrics, smooth, thin, ticks


@pytest.fixture
def page(tmp_path, comparisons, metrics_csv):
    path = write_report(
        tmp_path / "out" / "report.html",
        "Tokenizer <demo> & test",
        subtitle="32 channels",
        summary="First paragraph.\n\nSecond one.",
        tiles=[("RMSE", "0.29 m", "before 9.1 m")],
        tables=[("Held-out drives", ["Band", "RMSE (m)", "Pixels"], [["5–20 m", 0.123456, 1203444]])],
        metrics_csv=metrics_csv,
        frames=comparisons,
    )
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


def test_report_holds_what_was_given(page):
    assert "<h1>Tokenizer &lt;demo&gt; &amp; test</h1>" in page
    for text in ("32 channels", "<p>First paragraph.</p>", "<p>Second one.</p>", "0.29 m", "before 9.1 m"):
        assert text in page
    for cell in ("5–20 m", "0.1235", "1,203,444"):
        assert f"<td>{cell}</td>" in page
    assert re.findall(r"<h2 [^>]*>([^<]*)", page) == ["Results", "Training", "Range maps", "Point clouds"]
    assert page.count("drive_0 · frame 000010") >= 3
    assert "{{" not in page


def test_report_needs_nothing_from_outside(page):
    assert not re.search(r"https?:|//[a-z0-9-]+\.[a-z]", page)
    assert set(re.findall(r'(?:src|href)="(data:|#|[^"]{1,12})', page)) == {"data:", "#"}
    assert "default-src 'none'" in page


def test_pictures_in_the_report_are_the_range_maps(page, comparisons):
    from PIL import Image

    from cosmos_lidar.viz import range_map_image

    found = re.findall(r'<img alt="([^"]*)"[^>]*src="data:image/png;base64,([^"]*)"', page)
    assert [name.split(" range map")[0] for name, _ in found] == ["Original", "Reconstruction", "Error"] * 2
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(found[0][1]))).convert("RGB"))
    assert np.array_equal(picture, range_map_image(comparisons[0].original_m, bar=False))


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


def test_errors_are_left_out_where_points_do_not_belong_to_pixels():
    map_m = np.full((2, 3), 9.0, np.float32)
    frame = comparison_clouds(Comparison("a", map_m, map_m, np.zeros((6, 3)), np.zeros((5, 3))))
    assert [cloud.error_m for cloud in frame.clouds] == [None, None]


def test_names_cannot_break_out_of_the_page():
    evil = "</script><script>alert(1)</script>"
    report = Report(evil, evil).heading(evil).text(evil).table([evil], [[evil]], evil)
    report.picture(np.zeros((4, 4, 3)), evil).curve({evil: ([0, 1], [1, 2])})
    report.point_clouds([CloudFrame(evil, [Cloud(evil, np.ones((3, 3)))])], evil)
    assert "<script>alert" not in report.html()


def test_curve_shows_every_series_and_its_last_value(metrics_csv):
    series = read_metrics(metrics_csv)
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
        read_metrics(path)
    path.write_text("step,loss\n1,two\n")
    with pytest.raises(DataError, match="two.*metrics.csv.*key loss"):
        read_metrics(path)
    path.write_text("step,accuracy\n1,2\n")
    with pytest.raises(UserError, match="no values of a loss to draw: there are accuracy"):
        Report("a").curve(path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Report("a").table(["x", "y"], [[1]]), "2 columns, this row 1 fields"),
        (lambda: Report("a").point_clouds([]), "at least one frame"),
        (
            lambda: clouds_html([CloudFrame("a", [Cloud("b", np.ones((2, 3)))]), CloudFrame("c", [])]),
            "the same number of clouds",
        ),
        (
            lambda: clouds_html([CloudFrame("a", [Cloud("b", np.ones((2, 3)), np.ones(3))])]),
            r"cloud 'b': 2 points but errors of shape \(3,\)",
        ),
        (lambda: clouds_html([CloudFrame("a", [Cloud("b", np.ones((2, 2)))])]), r"\(N, 3 or more\)"),
        (lambda: curve_html({}), "at least one value"),
    ],
)
def test_wrong_sections_are_named(call, message):
    with pytest.raises(UserError, match=message):
        call()


def test_numbers_that_do_not_exist_are_dashes():
    text = Report("a").table(["x", "y", "z"], [["one", float("nan"), None]]).html()
    assert "<td>–</td><td>–</td>" in text
    assert "nan" not in text.split("<table>")[1].split("</table>")[0]
