"""The command ``convert-clips`` end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.convert import find_writers
from tests.commands.conftest import with_a_damaged_clip


def convert(*words: object) -> int:
    return main(["convert-clips", *map(str, words)])


def test_from_release_to_clouds_and_back(release: Path, tmp_path: Path, capsys) -> None:
    assert convert(release, tmp_path / "ply", "--to", "ply", "--workers", 2) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("2 clips, 6 frames, ")
    assert "lost: range_image: pixels become points" in shown
    assert convert(tmp_path / "ply", tmp_path / "back", "--to", "release") == 0
    first, last = open_clips(release), open_clips(tmp_path / "back")
    assert [clip.clip_id for clip in last] == [clip.clip_id for clip in first] == ["a1", "b2"]
    for given, back in zip(first, last, strict=True):
        assert np.array_equal(back.timestamps_us, given.timestamps_us)
        assert back.sensor.fingerprint() == given.sensor.fingerprint()
        for index in range(3):
            assert np.array_equal(back.range_map(index), given.range_map(index))


def test_a_second_call_skips_and_says_so(release: Path, tmp_path: Path, capsys) -> None:
    line = (release, tmp_path / "out", "--to", "npz", "--json")
    assert convert(*line) == 0
    assert json.loads(capsys.readouterr().out)["already_there"] == []
    assert convert(*line, "--resume") == 0
    assert json.loads(capsys.readouterr().out)["already_there"] == ["a1", "b2"]


def test_a_broken_clip_is_reported_with_status_1(release: Path, tmp_path: Path, capsys) -> None:
    damaged = with_a_damaged_clip(release, tmp_path / "damaged")
    assert convert(damaged, tmp_path / "out", "--to", "ply") == 1
    assert "error: a1: " in capsys.readouterr().out
    assert [path.name for path in sorted((tmp_path / "out").iterdir()) if path.is_dir()] == ["b2"]
    assert list(json.loads((tmp_path / "out" / "report.json").read_text())["errors"]) == ["a1"]


def test_a_clip_that_cannot_be_opened_is_reported_too(release: Path, tmp_path: Path, capsys) -> None:
    damaged = with_a_damaged_clip(release, tmp_path / "damaged")
    (damaged / "metadata" / "a1.npz").write_bytes(b"none")
    assert convert(damaged, tmp_path / "out", "--to", "ply", "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert (list(report["errors"]), list(report["clips"])) == (["a1"], ["b2"])
    assert convert(damaged, tmp_path / "one", "--to", "ply", "--clip", "b2") == 0


def test_clips_and_frames_are_chosen(release: Path, tmp_path: Path, capsys) -> None:
    assert convert(release, tmp_path / "out", "--to", "pcd", "--clip", "b2", "--frames", "1:3") == 0
    (clip,) = open_clips(tmp_path / "out")
    (given,) = [one for one in open_clips(release) if one.clip_id == "b2"]
    assert (clip.clip_id, len(clip)) == ("b2", 2)
    assert np.array_equal(clip.timestamps_us, given.timestamps_us[1:])
    assert convert(release, tmp_path / "late", "--to", "pcd", "--frames", "7:9") == 1
    assert "3 frames, none from 7 on" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        convert(release, tmp_path / "out", "--to", "pcd", "--frames", "3:3")
    assert "no frame" in capsys.readouterr().err


def test_wrong_names_are_refused_with_the_valid_ones(release: Path, tmp_path: Path, capsys) -> None:
    assert convert(release, tmp_path / "out", "--to", "plyy") == 2
    message = capsys.readouterr().err
    assert "did you mean ply?" in message
    assert all(name in message for name in (*find_writers(), "shards"))
    assert convert(release, tmp_path / "out", "--to", "ply", "--clip", "b3") == 2
    assert "no such clip in" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        convert(release, tmp_path / "out", "--to", "ply", "--workers", 0)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("")
    assert convert(release, tmp_path / "out", "--to", "ply") == 2
    assert "holds something else" in capsys.readouterr().err


def test_to_shards(release: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("megatron.energon")
    from cosmos_lidar.shards.clips import open_shards

    assert convert(release, tmp_path / "shards", "--to", "shards") == 0
    assert "6 frames in 1 shards" in capsys.readouterr().out
    for given, back in zip(open_clips(release), open_shards(tmp_path / "shards", "train"), strict=True):
        assert back.clip_id == given.clip_id
        step = given.sensor.range_step_m
        assert np.abs(back.range_map(1) - given.range_map(1)).max() <= step
    assert convert(with_a_damaged_clip(release, tmp_path / "damaged"), tmp_path / "two", "--to", "shards") == 1
