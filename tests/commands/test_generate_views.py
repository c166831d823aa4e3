"""``cosmos-lidar generate-views``: videos from shards and files, kept and replaced, bad inputs, ranks that share."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.clips.video import VideoFile
from cosmos_lidar.viz.video import write_video
from tests.families.multiview.generation import FRAMES, SIZE, VIEWS, Trained, train_some
from tests.workers.client import torchrun

pytest.importorskip("nemo")
pytest.importorskip("megatron.energon")

CAMERAS = ("pinhole_front_left", "pinhole_front", "pinhole_front_right")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train_some(tmp_path_factory.mktemp("trained"))


def arguments(trained: Trained, folder: Path, *more: object) -> list[str]:
    some = ["generate-views", "--checkpoint", trained.checkpoint, "--vae", trained.vae, "--save_dir", folder]
    return [str(part) for part in (*some, "--steps", 2, "--device", "cpu", *more)]


def frames_of(path: Path) -> np.ndarray:
    video = VideoFile(path)
    return np.stack([video(number) for number in range(len(video))])


def videos(folder: Path, count: int = 3, frames: int = 7) -> list[Path]:
    rng = np.random.default_rng(0)
    files = [folder / f"view{view}.mp4" for view in range(count)]
    for file in files:
        base = rng.integers(0, 255, 3)
        write_video(file, [np.full((64, 80, 3), base, np.uint8) + np.uint8(n) for n in range(frames)], crf=0)
    return files


def test_clips_of_shards(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    command = arguments(trained, tmp_path, "--data", trained.shards, "--max_clips", 1)
    assert main(command) == 0
    records = sorted(tmp_path.glob("*.json"))
    assert len(records) == 1
    record, name = json.loads(records[0].read_text()), records[0].stem
    assert record["cameras"] == list(CAMERAS)
    assert record["frames"] == FRAMES
    assert record["settings"]["view_ids"] == list(VIEWS)
    assert record["psnr_db"] > 0
    for camera in CAMERAS:
        assert frames_of(tmp_path / "videos" / camera / f"{name}.mp4").shape == (FRAMES, *SIZE, 3)
    assert frames_of(tmp_path / f"{name}.mp4").shape == (FRAMES, 2 * SIZE[0], 2 * SIZE[1], 3)
    assert (tmp_path / "report.html").is_file()
    assert "1 clips generated, 0 were there" in capsys.readouterr().out
    made = (tmp_path / f"{name}.mp4").stat().st_mtime_ns
    assert main(command) == 0
    assert "0 clips generated, 1 were there" in capsys.readouterr().out
    assert (tmp_path / f"{name}.mp4").stat().st_mtime_ns == made
    assert main([*command, "--seed", "3"]) == 2
    assert "generated with other settings (seed): add --overwrite" in capsys.readouterr().err
    assert main([*command, "--seed", "3", "--overwrite"]) == 0
    assert json.loads(records[0].read_text())["settings"]["seed"] == 3
    capsys.readouterr()
    assert main([*command, "--seed", "3", "--benchmark"]) == 0  # of a clip that is there, too
    assert re.search(rf"^{name}: \d+\.\d\d s, mean of three runs after one$", capsys.readouterr().out, re.MULTILINE)


def test_a_file_of_each_view_is_one_of_all(trained: Trained, tmp_path: Path) -> None:
    """A published input holds all views one after the other; the video of all is one above the other."""
    files = videos(tmp_path / "in")
    whole = tmp_path / "in" / "all.mp4"
    write_video(whole, [image for file in files for image in frames_of(file)], crf=0)
    found = []
    for name, given in (("each", files), ("one", [whole])):
        target = tmp_path / name / "made.mp4"
        assert (
            main(arguments(trained, tmp_path, "--input_path", *given, "--save_path", target, "--layout", "stack")) == 0
        )
        found.append(frames_of(target).astype(int))
    assert found[0].shape == (FRAMES, 3 * SIZE[0], SIZE[1], 3)
    assert np.abs(found[0] - found[1]).mean() < 2


def test_a_list_of_inputs_with_a_broken_one(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    files = videos(tmp_path)
    (tmp_path / "broken.mp4").write_bytes(b"not a video")
    jobs = [
        {"input_video": ["broken.mp4"] * 3, "prompt": ""},
        {"input_video": [file.name for file in files], "prompt": "", "output_video": "good.mp4"},
    ]
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    assert main(arguments(trained, tmp_path / "out", "--batch_input_json", tmp_path / "jobs.json")) == 1
    assert (tmp_path / "out" / "good.mp4").is_file()
    out = capsys.readouterr().out
    assert "clip 0 skipped" in out
    assert "broken.mp4" in out


def test_without_frames_and_longer(trained: Trained, tmp_path: Path) -> None:
    assert main(arguments(trained, tmp_path, "--num_conditional_frames", 0, "--guidance", 0)) == 0
    assert len(frames_of(tmp_path / "generated.mp4")) == FRAMES
    files = videos(tmp_path / "in")
    assert main(arguments(trained, tmp_path, "--input_path", *files, "--segments", 2)) == 0
    assert len(frames_of(tmp_path / "view0.mp4")) == 2 * FRAMES - 1


def test_an_input_in_the_output_folder_is_kept(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Outputs have the names of inputs: a video that this command did not make is not written over."""
    files = videos(tmp_path)
    before = files[0].read_bytes()
    assert main(arguments(trained, tmp_path, "--input_path", *files)) == 2
    assert "is not known to be complete" in capsys.readouterr().err
    assert files[0].read_bytes() == before


def test_the_plan(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(arguments(trained, tmp_path / "out", "--data", trained.shards, "--dryrun", "--load_ema")) == 0
    out = capsys.readouterr().out
    assert "3 views [5, 0, 1] of 5 frames of 32 x 48, 1 given" in out
    assert "2ab, 2 steps, 6 evaluations" in out
    assert not (tmp_path / "out").exists()
    size = ("--resolution", 480, "--aspect_ratio", "16:9")
    assert main(arguments(trained, tmp_path / "out", "--data", trained.shards, "--dryrun", *size)) == 0
    assert "3 views [5, 0, 1] of 5 frames of 480 x 848, 1 given" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([], "give --data or --input_path"),
        (["--data", "x", "--input_path", "y.mp4"], "give one of them"),
        (["--input_path", "a.mp4", "b.mp4"], "2 videos for 3 views"),
        (["--input_path", "a.mp4", "--num_conditional_frames", "3"], "valid: 0, 1, 5, 9"),
        (["--input_path", "a.mp4", "--num_conditional_frames", "5"], "5 conditioning frames of 5"),
        (["--input_path", "a.mp4", "--prompt", "a street"], "needs a text encoder"),
        (["--input_path", "a.mp4", "--save_path", "x.avi"], "ends in .mp4"),
        (["--input_path", "a.mp4", "--control", "depth"], "--control_path KIND FILE"),
        (["--control_path", "depth", "a.mp4", "--num_conditional_frames", "0"], "need --input_path"),
        (["--data", "x", "--control", "depth"], "the network takes no control videos"),
        (["--input_path", "a.mp4", "--lora", "missing"], "missing"),
        (["--input_path", "a.mp4", "--n_views", "9"], "view"),
        (["--input_path", "a.mp4", "--use_cuda_graphs"], "--use_cuda_graphs: not supported"),
        (["--input_path", "a.mp4", "--model_size", "2B"], "a checkpoint of predict2_debug_multiview"),
        (["--input_path", "a.mp4", "--aspect_ratio", "4:3"], "--aspect_ratio 4:3: valid: 16:9"),
    ],
)
def test_bad_options(
    options: list[str], problem: str, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(arguments(trained, tmp_path / "out", *options)) == 2
    assert problem in capsys.readouterr().err


@pytest.mark.slow
def test_ranks_that_share_a_clip_make_the_same_video(trained: Trained, tmp_path: Path) -> None:
    given = ["--data", trained.shards, "--max_clips", 1]
    assert main(arguments(trained, tmp_path / "one", *given)) == 0
    program = ["-m", "cosmos_lidar.cli", *arguments(trained, tmp_path / "two", *given, "--context_parallel_size", 2)]
    done = torchrun(2, *program)
    assert done.returncode == 0, done.stderr[-3000:]
    name = next((tmp_path / "one").glob("*.json")).stem
    one, two = (frames_of(tmp_path / folder / f"{name}.mp4").astype(int) for folder in ("one", "two"))
    assert np.abs(one - two).max() <= 2
