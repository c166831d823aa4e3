"""Videos as clips: the guide's own layout and ours, windows in time and space, exact resume, and what is left out."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("megatron.energon")

from cosmos_lidar.clips.video import write_mp4
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.videos import find_videos, prepare_videos
from energon_tasks.videos import Window, choose_frames, crop, video_loader
from tests.energon_tasks.energon_commands import energon_prepare

FRAMES, WINDOW = 24, Window(frames=5, size=32)
# As in the published guide, answers given on the command line.
GUIDE = ("--split-ratio", "50,50,0", "--sample-type", "ImageSample", "--field-map", '{"image": "mp4"}')


def images(number: int, frames: int = FRAMES, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Red tells the video, green the frame, blue the column: what is cut out can be read from the colors."""
    made = []
    for frame in range(frames):
        image = np.zeros((height, width, 3), np.uint8)
        image[..., 0], image[..., 1] = 20 + 20 * number, 20 + 8 * frame
        image[..., 2] = np.linspace(20, 220, width).astype(np.uint8)
        made.append(image)
    return made


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(8):
        write_mp4(folder / f"{number}.mp4", images(number), 25.0)
    return folder


@pytest.fixture(scope="module")
def shards(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards") / "out"
    prepare_videos(find_videos(videos), folder, PrepareOptions(split=(0.75, 0.25), samples_per_shard=2))
    return folder


def tar_of(folder: Path, name: str, files: dict[str, bytes]) -> None:
    with tarfile.open(folder / name, "w") as tar:
        for file, content in files.items():
            info = tarfile.TarInfo(file)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def loader(path: Path, split: str = "train", **options: object):
    defaults = {"batch_size": 1, "training": split == "train", "window": WINDOW, "rank": 0, "world_size": 1}
    return video_loader(path, split, **defaults | options)


def numbers(batch: object) -> tuple[int, list[int]]:
    """Read video and frame numbers back from the colors of the first clip."""
    mean = batch.frames[0].float().mean((-2, -1))
    return round((float(mean[0, 0]) - 20) / 20), [round((float(value) - 20) / 8) for value in mean[1]]


def test_clips_are_windows_of_the_right_video(shards: Path) -> None:
    seen, starts, columns = set(), set(), set()
    for _, batch in zip(range(40), loader(shards, seed=1), strict=False):
        assert batch.frames.shape == (1, 3, 5, 32, 32)
        assert batch.frames.dtype == torch.uint8
        video, frames = numbers(batch)
        assert batch.clip_ids == [str(video)]
        assert frames == list(range(batch.starts[0], batch.starts[0] + 5))
        seen.add(video)
        starts.add(batch.starts[0])
        columns.add(int(batch.frames[0, 2, 0, 0, 0]))
    assert len(seen) == 6
    assert len(starts) > 8  # of 20: anywhere in the video, not its first frames
    assert len(columns) > 8  # anywhere across, not the left corner


def test_validation_is_the_middle_once_and_the_same(shards: Path) -> None:
    val = loader(shards, "val")
    first, second = list(val), list(val)
    assert len(first) == 2
    assert [batch.starts for batch in first] == [[9], [9]]
    assert all(torch.equal(a.frames, b.frames) for a, b in zip(first, second, strict=True))
    assert int(first[0].frames[0, 2, 0, 0, 0]) == pytest.approx(20 + 200 * 16 / 63, abs=6)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_exact_resume_in_the_middle(shards: Path, workers: int) -> None:
    def some(reader: object, count: int) -> list[tuple[list[str], list[int], torch.Tensor]]:
        return [(b.clip_ids, b.starts, b.frames) for _, b in zip(range(count), reader, strict=False)]

    whole = some(loader(shards, num_workers=workers, seed=3), 10)
    first_half = loader(shards, num_workers=workers, seed=3)
    some(first_half, 4)
    state = first_half.save_state_rank()
    again = loader(shards, num_workers=workers, seed=3)
    again.restore_state_rank(state)
    for (keys, starts, frames), (keys2, starts2, frames2) in zip(whole[4:], some(again, 6), strict=True):
        assert (keys, starts) == (keys2, starts2)
        assert torch.equal(frames, frames2)


@pytest.mark.slow
def test_two_processes_read_different_videos(shards: Path) -> None:
    read = [{key for _, b in zip(range(6), loader(shards, rank=rank, world_size=2, shuffle_buffer=0), strict=False)
             for key in b.clip_ids} for rank in (0, 1)]  # fmt: skip
    assert not read[0] & read[1]


@pytest.mark.slow
def test_the_guides_own_layout_with_a_plain_energon_prepare(videos: Path, tmp_path: Path) -> None:
    for shard in range(2):
        files = {f"{n}.mp4": (videos / f"{n}.mp4").read_bytes() for n in range(4 * shard, 4 * shard + 4)}
        tar_of(tmp_path, f"{shard:06d}.tar", files)
    energon_prepare(tmp_path, *GUIDE)
    batches = [batch for _, batch in zip(range(6), loader(tmp_path), strict=False)]
    for batch in batches:
        video, frames = numbers(batch)
        assert batch.clip_ids == [str(video)]
        assert frames == list(range(batch.starts[0], batch.starts[0] + 5))


def test_what_cannot_be_used_is_counted_and_named(videos: Path, tmp_path: Path) -> None:
    good = (videos / "0.mp4").read_bytes()
    write_mp4(tmp_path / "short.mp4", images(0, frames=3), 25.0)
    files = {
        "good.mp4": good, "cut.mp4": good[: len(good) // 2], "text.mp4": b"no video",
        "short.mp4": (tmp_path / "short.mp4").read_bytes(),
    }  # fmt: skip
    (tmp_path / "set").mkdir()
    tar_of(tmp_path / "set", "000000.tar", files)
    tar_of(tmp_path / "set", "000001.tar", {"other.mp4": good})
    energon_prepare(tmp_path / "set", *GUIDE)
    split = "train" if "000000" in (tmp_path / "set/.nv-meta/split.yaml").read_text().split("val")[0] else "val"
    reader = loader(tmp_path / "set", split, training=False, bad_sample_budget=1.0)
    assert [batch.clip_ids for batch in reader] == [["good"]]
    problems = {row["key"].rpartition("/")[2]: row["problem"] for row in reader.skip_report.problems()}
    assert set(problems) == {"cut", "text", "short"}
    assert "3 frames [key short] Expected: a video that 5 frames in steps of 1 fit into" in problems["short"]
    assert "not a readable video" in problems["cut"]
    with pytest.raises(DataError, match=r"samples cannot be used.*raise bad_sample_budget"):
        list(loader(tmp_path / "set", split, training=False, bad_sample_budget=0.01))


def test_options_that_do_not_fit_the_data_are_refused(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no indexed shards.*`energon prepare`"):
        loader(tmp_path)
    with pytest.raises(DataError, match=r"split 'test' is empty.*train, val"):
        loader(shards, "test", training=False)
    with pytest.raises(UserError, match="6 samples in .* cannot be shared by 8 readers"):
        loader(shards, num_workers=8)
    with pytest.raises(UserError, match="resize 16: at least the size of the crop, 32"):
        Window(5, 32, resize=16)
    with pytest.raises(UserError, match="must be at least 1"):
        Window(0, 32)


def test_frames_at_a_rate_whatever_that_of_the_video() -> None:
    rng = np.random.default_rng(0)
    uneven = np.cumsum(np.array([0.0] + [0.04, 0.04, 0.06, 0.02] * 10))
    chosen = choose_frames(uneven, Window(5, 8, fps=12.5), None, "x")
    assert np.abs(uneven[chosen] - (uneven[chosen[0]] + np.arange(5) / 12.5)).max() <= 0.021
    twice = choose_frames(np.arange(10) / 10, Window(5, 8, fps=20.0), rng, "x")
    assert np.all(np.diff(twice) >= 0)
    assert np.bincount(twice - twice[0]).max() <= 3
    with pytest.raises(DataError, match=r"10 frames \[key x\].*5 frames at 2 frames/s"):
        choose_frames(np.arange(10) / 10, Window(5, 8, fps=2.0), rng, "x")
    starts = {int(choose_frames(np.arange(13), Window(5, 8, stride=3), rng, "x")[0]) for _ in range(20)}
    assert starts == {0}


@pytest.mark.parametrize("shape", [(48, 64), (32, 32), (20, 31), (33, 47), (64, 40)])
def test_crops_of_any_size(shape: tuple[int, int]) -> None:
    ramp = torch.linspace(0, 255, shape[1]).round().to(torch.uint8).expand(3, 2, *shape)
    rng = np.random.default_rng(0)
    for window in (Window(2, 32), Window(2, 32, resize=40)):
        for _ in range(5):
            cut = crop(ramp, window, rng)
            assert cut.shape == (3, 2, 32, 32)
            assert cut.dtype == torch.uint8
    middle = crop(ramp, Window(2, 32), None).float()
    assert middle.mean().item() == pytest.approx(127.5, abs=255 / shape[1])  # to half a pixel of the video
    slope = (middle[0, 0, 0, -1] - middle[0, 0, 0, 0]).item() / 31
    scale = min(1.0, min(shape) / 32)
    assert slope == pytest.approx(255 / (shape[1] - 1) * scale, rel=0.08)


def test_real_driving_video(test_data: Path, tmp_path: Path) -> None:
    (source,) = find_videos(test_data / "video")
    copies = [replace(source, key=f"copy_{n}", drive=str(n)) for n in (0, 1)]
    prepare_videos(copies, tmp_path / "out", PrepareOptions(split=(0.5, 0.5)))
    (batch,) = loader(tmp_path / "out", "val", window=Window(9, 256))
    assert batch.frames.shape == (1, 3, 9, 256, 256)
    assert 30 < batch.frames.float().mean() < 220
    assert batch.frames.float().std() > 20
