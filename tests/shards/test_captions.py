"""Captions of clips: files, one text for all, prompt files with a line for each view."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.shards.captions import ClipCaptions, join_prefix, prefix_sentences, read_captions, read_prompts


def test_a_folder_has_captions_by_camera_or_of_the_front(tmp_path: Path):
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "a.txt").write_text("a fence\n")
    (tmp_path / "a.txt").write_text("rain")
    captions = read_captions(tmp_path, "sun")
    assert captions.of("a", "front", 0) == "rain"
    assert captions.of("a", "left", 5) == "a fence"
    assert captions.of("a", "right", 1) is None
    assert captions.of("b", "front", 0) == "sun"
    assert captions.of("b", "left", 5) is None


def test_a_json_file_has_captions_by_clip(tmp_path: Path):
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"a": "rain", "b": {"left": "a fence"}}))
    captions = read_captions(path)
    assert [captions.of("a", "front", 0), captions.of("a", "left", 5)] == ["rain", None]
    assert [captions.of("b", "front", 0), captions.of("b", "left", 5)] == [None, "a fence"]
    assert captions.fingerprint() != read_captions(path, "sun").fingerprint()


def test_captions_are_found_by_the_name_of_the_recording(tmp_path: Path):
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "10.2 rain.txt").write_text("a fence")
    (tmp_path / "left" / "._10.2 rain.txt").write_bytes(b"\xff")  # as macOS leaves it
    captions = read_captions(tmp_path)
    assert captions.of("10_2_rain", "left", 5) == "a fence"
    assert captions.of("10_2", "left", 5) is None
    (tmp_path / "left" / "10_2_rain.txt").write_text("a wall")
    os.utime(tmp_path / "left", ns=(1, 1))
    assert captions.of("10_2_rain", "left", 5) == "a wall"  # the id itself comes first
    (tmp_path / "x.json").write_text(json.dumps({"10.2 rain": "rain", "a.b": "sun", "a_b": "fog"}))
    captions = read_captions(tmp_path / "x.json")
    assert [captions.of(name, "front", 0) for name in ("10_2_rain", "a_b")] == ["rain", "fog"]


@pytest.mark.parametrize("text", ["[1]", '{"a": 1}', "{", '{"a": {"left": 2}}'])
def test_other_files_are_refused(tmp_path: Path, text: str):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=r"x\.json.*\{clip: caption\}"):
        read_captions(tmp_path / "x.json")


def test_a_prompt_file_has_a_line_for_each_view(tmp_path: Path):
    path = tmp_path / "prompts.txt"
    path.write_text("ahead\nleft \n\n")
    assert read_prompts(path, ["front", "left"]) == ["ahead", "left"]
    with pytest.raises(UserError, match=r"2 lines for 3 views: expected one line for each of front, left, right"):
        read_prompts(path, ["front", "left", "right"])
    with pytest.raises(DataError, match="not a readable text"):
        read_prompts(tmp_path / "none.txt", ["front"])


def test_prefix_sentences_tell_directions_apart():
    found = prefix_sentences({f"camera{number}": number for number in range(9)})
    assert len(set(found.values())) == 9
    assert "straight ahead" in found["camera0"]
    given = ClipCaptions(prefixes={"camera0": "Ahead.", "other": "x"})
    assert given.prefixes_of({"camera0": 0, "camera1": 1}) == {"camera0": "Ahead.", "camera1": found["camera1"]}
    assert join_prefix("", " rain ") == "rain"
    assert join_prefix("Ahead. ", "rain") == "Ahead. rain"
