import base64
import re

import numpy as np
import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.viz import Report, write_video
from cosmos_lidar.viz.video_figure import LARGEST_BYTES, video_html


def test_a_video_is_in_the_page(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, np.zeros((3, 32, 48, 3), np.uint8))
    html = Report("page").block(video_html(path, "left & right", 48)).html()
    (found,) = re.findall(r'<video [^>]*src="data:video/mp4;base64,([^"]*)"', html)
    assert base64.b64decode(found) == path.read_bytes()
    assert html.count("left &amp; right") == 2
    assert "max-width:96px" in html
    assert "media-src data:" in html


def test_large_and_missing_files(tmp_path):
    with pytest.raises((DataError, OSError)):
        video_html(tmp_path / "none.mp4", "")
    with (tmp_path / "large.mp4").open("wb") as file:
        file.truncate(LARGEST_BYTES + 1)
    with pytest.raises(DataError, match="a video for a page"):
        video_html(tmp_path / "large.mp4", "")
