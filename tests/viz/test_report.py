import base64
import io
import re

import numpy as np
import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.viz import Cloud, CloudFrame, Comparison, Report, comparison_clouds
from cosmos_lidar.viz.cloud_figure import clouds_html
from cosmos_lidar.viz.curve import curve_html


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


def test_images_in_the_report_are_the_range_maps(page, comparisons):
    from PIL import Image

    from cosmos_lidar.viz import range_map_image

    found = re.findall(r'<img alt="([^"]*)"[^>]*src="data:image/png;base64,([^"]*)"', page)
    assert [name.split(" range map")[0] for name, _ in found] == ["Original", "Reconstruction", "Error"] * 2
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(found[0][1]))).convert("RGB"))
    assert np.array_equal(image, range_map_image(comparisons[0].original_m, bar=False))


def test_errors_are_left_out_where_points_do_not_belong_to_pixels():
    map_m = np.full((2, 3), 9.0, np.float32)
    frame = comparison_clouds(Comparison("a", map_m, map_m, np.zeros((6, 3)), np.zeros((5, 3))))
    assert [cloud.error_m for cloud in frame.clouds] == [None, None]


def test_names_cannot_break_out_of_the_page():
    evil = "</script><script>alert(1)</script>"
    report = Report(evil, evil).heading(evil).text(evil).table([evil], [[evil]], evil)
    report.image(np.zeros((4, 4, 3)), evil).curve({evil: ([0, 1], [1, 2])})
    report.point_clouds([CloudFrame(evil, [Cloud(evil, np.ones((3, 3)))])], evil)
    assert "<script>alert" not in report.html()


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
