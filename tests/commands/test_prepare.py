from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.splits import published_split
from cosmos_lidar.shards.manifest import read_manifest
from tests.shards.conftest import tiny_clip

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


def test_sweeps_as_points(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "points"
    command = ["prepare", str(release), str(out), "--split", "2,1,0"]
    assert main([*command, "--task", "points"]) == 0
    text = capsys.readouterr().out
    assert "train: 8 sweeps, 8 frames, 1 shards" in text
    assert "no sweep skipped" in text
    assert main(["check", str(out)]) == 0
    assert main([*command, "--task", "points", "--labeled"]) == 2  # other options, and none has labels
    assert main([*command, "--labeled"]) == 2
    assert "--labeled: only with --task points" in capsys.readouterr().err


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Recordings with the names of nuScenes' scenes, of which one is in no list."""
    from cosmos_lidar.clips.writers.release import write_release

    for name in ("scene-0103", "scene-0001", "scene-9999"):
        write_release(tmp_path / "scenes", tiny_clip(name, 4), max_frames=4)
    return tmp_path / "scenes"


def test_published_split_by_its_name(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["prepare", str(scenes), str(tmp_path / "shards"), "--split", "nuscenes"]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "1 of 3 clips are in no split of nuscenes" in error
    assert "scene-9999" in error
    assert not (tmp_path / "shards").exists()
    assert main([*command, "--skip-unlisted", "--whole-drives"]) == 0
    text = capsys.readouterr().out
    assert "train: 1 clips, 4 frames" in text
    assert "val: 1 clips, 4 frames" in text
    assert "1 clips are in no list and left out" in text
    assert read_manifest(tmp_path / "shards").splits == {"train": ["scene-0001"], "val": ["scene-0103"]}
    assert json.loads((tmp_path / "shards" / "report.json").read_text())["clips_in_no_list"] == ["scene-9999"]
    assert main(["prepare", str(scenes), str(tmp_path / "other"), "--split", "published"]) == 2
    assert "recordings of format release have no published split; known are av2" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*command[:-1], "nuscene"])
    assert (
        "invalid 'nuscene': expected ratios, such as 0.9,0.1,0, a split file of nuPlan (.yaml), or published, av2"
        in capsys.readouterr().err
    )


def test_split_by_the_file_of_nuplans_tools(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "nuplan.yaml"
    file.write_text("log_splits: {train: [scene-0103], val: [scene-0001, scene-9999]}\n")
    command = ["prepare", str(scenes), str(tmp_path / "shards"), "--split", str(file)]
    assert main(command) == 0
    splits = read_manifest(tmp_path / "shards").splits
    assert {split: sorted(names) for split, names in splits.items()} == {
        "train": ["scene-0103"],
        "val": ["scene-0001", "scene-9999"],
    }
    file.write_text("log_splits: {train: [scene-0001], val: [scene-0103, scene-9999]}\n")
    capsys.readouterr()
    assert main(command) == 2  # other lists, other shards: not resumed
    assert main([*command[:-1], str(tmp_path / "absent.yaml")]) == 2
    assert "absent.yaml" in capsys.readouterr().err


def test_published_split_of_the_format_of_the_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.clips.readers.test_semantickitti import write_sample

    source = write_sample(tmp_path / "kitti")
    assert main(["prepare", str(source), str(tmp_path / "shards"), "--split", "published", "--bad-budget", "1"]) == 0
    (clip_ids,) = read_manifest(tmp_path / "shards").splits.values()
    assert clip_ids[0] in published_split("semantickitti", next(iter(read_manifest(tmp_path / "shards").splits)))


def test_published_split_of_videos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from cosmos_lidar.clips.video import write_mp4
    from tests.energon_tasks.test_videos import images

    (tmp_path / "videos").mkdir()
    for number, name in enumerate(("scene-0103", "scene-0001")):
        write_mp4(tmp_path / "videos" / f"{name}.mp4", images(number, 5), 10.0)
    out = tmp_path / "shards"
    assert main(["prepare", str(tmp_path / "videos"), str(out), "--split", "nuscenes"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()[:2]] == ["train", "val"]
    with tarfile.open(out / "val-000000.tar") as tar:
        assert {name.split(".")[0] for name in tar.getnames()} == {"scene-0103"}


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
