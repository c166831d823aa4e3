from __future__ import annotations

from pathlib import Path

from cosmos_lidar.families.video_tokenizer.files import output_names


def test_names_of_results_never_meet():
    files = [Path("a/x.mp4"), Path("b/x.mp4"), Path("b/y.png")]
    assert output_names(files) == ["a_x", "b_x", "b_y"]
    assert output_names([Path("a/x.mp4"), Path("a/x.png")]) == ["a_x_0000", "a_x_0001"]
