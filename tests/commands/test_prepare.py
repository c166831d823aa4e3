from __future__ import annotations

import json
from pathlib import Path

import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.clips.clip import Clip

# ------------------------------------------------------------------------------------------------------ command line


@pytest.fixture
def release(tmp_path: Path, clips: list[Clip]) -> Path:
    from cosmos_lidar.clips.writers.release import write_release

    for clip in clips[:3]:
        write_release(tmp_path / "release", clip, max_frames=4)
    return tmp_path / "release"


def test_command_line_from_recordings_to_checked_shards(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shards"
    command = ["prepare", str(release), str(out), "--format", "release", "--split", "2,1,0"]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "train: 2 clips, 8 frames, 1 shards" in text
    assert "val: 1 clips, 4 frames" in text
    assert main(command) == 0
    assert main(["check", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out.split("skipped")[-1].strip())
    assert (result["frames"], result["problems"]) == (12, [])
    assert main([*command, "--seed", "5"]) == 2
    assert "other clips or other options" in capsys.readouterr().err


def test_command_line_names_what_is_wrong(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "shards")
    assert main(["prepare", str(release), out, "--sensor", "velodyne9000"]) == 2
    error = capsys.readouterr().err
    assert "unknown sensor 'velodyne9000': shipped are " in error
    assert "ddad_virtual" in error.partition("shipped are ")[2]
    assert main(["prepare", str(release), out, "--split", "1,1,1"]) == 0
    assert main(["prepare", str(release), out + "2", "--split-list", str(tmp_path / "no.lst")]) == 2
    assert "no.lst" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["prepare", str(release), out, "--split", "most,few"])
    assert "invalid" in capsys.readouterr().err
    image = tmp_path / "scan.bin"
    image.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert main(["prepare", str(image), out + "3"]) == 2
    assert "scan.bin" in capsys.readouterr().err
    assert not Path(out + "2").exists()


def test_clips_of_several_cameras(test_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "multiview"
    command = ["prepare", str(test_data / "ddad_dgp"), str(out), "--task", "multiview", "--split", "1,0,0"]
    options = ["--views", "CAMERA_05,CAMERA_01", "--image-size", "48x80", "--prompt", "A street."]
    assert main([*command, *options]) == 0
    assert "train: 1 samples, 3 frames, 1 shards" in capsys.readouterr().out
    document = json.loads((out / "multiview.json").read_text())
    assert document["views"] == [{"name": "CAMERA_05", "view_id": 5}, {"name": "CAMERA_01", "view_id": 0}]
    assert main(["check", str(out)]) == 0
    assert main([*command, "--videos"]) == 2
    assert "--task multiview excludes --videos" in capsys.readouterr().err
    assert main([*command, "--image-size", "50x80"]) == 2
    assert "expected two multiples of 8" in capsys.readouterr().err
