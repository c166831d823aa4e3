"""Kinds of control images: found by their files, parsed, and drawn for calibrated cameras alone."""

from __future__ import annotations

import pytest

from cosmos_lidar.clips.controls import find_controls, lens_for, parse_controls
from cosmos_lidar.errors import DataError, UserError
from tests.shards.cameras import camera, camera_clip


def test_kinds_are_found_and_parsed() -> None:
    assert {"depth"} <= find_controls().keys()
    assert all(name == control.name and control.help for name, control in find_controls().items())
    assert parse_controls("depth") == ("depth",)
    assert parse_controls("") == ()
    for text in ("deep", "depth,depth", "depth,"):
        with pytest.raises(UserError, match=r"valid: .*depth.*, each once"):
            parse_controls(text)


def test_the_lens_is_that_of_the_drawn_size() -> None:
    clip = camera_clip("a")
    stream = clip.cameras["pinhole_front"]
    assert lens_for(clip, stream, None) is stream.model
    assert (lens_for(clip, stream, (24, 32)).height, lens_for(clip, stream, (24, 32)).width) == (24, 32)
    bare = camera("bare", 0, 3)
    object.__setattr__(bare, "model", None)
    with pytest.raises(DataError, match=r"camera bare has no lens.*clip a"):
        lens_for(clip, bare, None)
