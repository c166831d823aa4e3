"""Clips of several cameras as shards: frames, rates, sizes, captions, and what cannot be used."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("megatron.energon")

from cosmos_lidar.arrays import read_npy
from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.rig import lens_of_entry
from cosmos_lidar.clips.video import VideoFile, write_mp4
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.shards.captions import ClipCaptions
from cosmos_lidar.shards.check import read_samples
from cosmos_lidar.shards.check_index import check_indexed
from cosmos_lidar.shards.multiview import MultiviewMeta, open_frames, read_facts, read_meta
from cosmos_lidar.shards.multiview_writer import MultiviewOptions, write_multiview
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.text_files import write_embeddings
from tests.shards.cameras import IDS, NAMES, START_US, camera, camera_clip, image_of

WHOLE = PrepareOptions(split=(1.0,), bad_budget=0.5)


def write(clips: Sequence[Clip], folder: Path, prepare: PrepareOptions = WHOLE, **options: object) -> Path:
    write_multiview(clips, folder, MultiviewOptions(**options), prepare)
    return folder


def samples(folder: Path) -> dict[str, tuple[dict[str, bytes], MultiviewMeta]]:
    found = [one for path in sorted(folder.glob("*.tar")) for one in read_samples(path)]
    return {place.key: (parts, read_meta(parts["meta.json"])) for place, parts in found}


def test_a_sample_holds_a_video_of_every_camera_and_when_its_images_were_taken(tmp_path: Path):
    ((parts, meta),) = samples(write([camera_clip("a")], tmp_path / "out")).values()
    assert (meta.cameras, meta.view_ids, meta.frames, meta.fps) == (list(NAMES), list(IDS), 12, 10.0)
    assert meta.clock_us == (START_US + 100_000 * np.arange(12)).tolist()
    assert meta.times_us[3] == (START_US + 30_000 + 100_000 * np.arange(12)).tolist()
    for number, name in enumerate(NAMES):
        video = open_frames(parts, meta, name)
        assert len(video) == 12
        assert np.abs(video(7).mean((0, 1)) - image_of(number, 7)[0, 0]).max() < 4
    assert read_npy(parts["poses.npy"]).shape == (5, 12, 4, 4)
    lens = lens_of_entry(meta.lenses[2], "front", tmp_path)
    assert (lens.width, lens.height) == (64, 48)
    assert read_facts(tmp_path / "out").cameras == NAMES
    assert not check_indexed(tmp_path / "out").problems


def test_rate_size_views_and_format(tmp_path: Path):
    options = {"views": "pinhole_front,pinhole_side_left=3", "fps": 5.0, "image_size": (24, 40), "format": "jpg"}
    ((parts, meta),) = samples(write([camera_clip("a", 13)], tmp_path / "out", **options)).values()
    assert (meta.cameras, meta.view_ids, meta.frames, meta.fps) == (
        ["pinhole_front", "pinhole_side_left"],
        [0, 3],
        7,
        5.0,
    )
    assert meta.image_numbers == [[0, 2, 4, 6, 8, 10, 12], [0, 2, 4, 6, 8, 10, 12]]
    image = open_frames(parts, meta, "pinhole_front")(3)
    assert image.shape == (24, 40, 3)
    assert np.abs(image.mean((0, 1)) - image_of(2, 6)[0, 0]).max() < 4
    assert lens_of_entry(meta.lenses[0], "front", tmp_path).width == 40
    assert sum(part.endswith(".jpg") for part in parts) == 14


def test_gaps_divide_clips_and_long_runs_are_cut(tmp_path: Path):
    front = camera("pinhole_front", 0, 12)
    kept = np.array([0, 1, 2, 3, 4, 8, 9, 10, 11])
    gappy = replace(front, timestamps_us=front.timestamps_us[kept], world_SE3_camera=front.world_SE3_camera[kept])
    clip = Clip(
        "a", Path("a"), "test", {}, {"pinhole_side_left": camera("pinhole_side_left", 1, 12), front.name: gappy}
    )
    found = samples(write([clip], tmp_path / "out", frames_per_sample=3))
    assert {key: meta.frames for key, (_, meta) in found.items()} == {"a_000000": 2, "a_000002": 3, "a_000005": 2,
                                                                     "a_000007": 2}  # fmt: skip
    assert found["a_000005"][1].image_numbers == [[8, 9], [5, 6]]


def test_captions_lie_beside_their_camera(tmp_path: Path):
    captions = ClipCaptions("sun", {"a": {"pinhole_front": "rain", "pinhole_side_left": "a fence"}})
    found = samples(write([camera_clip("a", 2), camera_clip("b", 2)], tmp_path / "out", captions=captions))
    texts = {
        key: {part: data for part, data in parts.items() if part.endswith(".txt")} for key, (parts, _) in found.items()
    }
    assert texts["a_000000"] == {"pinhole_front.txt": b"rain", "pinhole_side_left.txt": b"a fence"}
    assert texts["b_000000"] == {"pinhole_front.txt": b"sun"}
    assert set(json.loads((tmp_path / "out" / "multiview.json").read_text())["prefixes"]) == set(NAMES)


def test_changed_texts_and_images_are_written_again(tmp_path: Path):
    (tmp_path / "texts").mkdir()
    write_mp4(tmp_path / "front.mp4", [image_of(0, frame) for frame in range(4)], 10.0)
    front = replace(camera("pinhole_front", 0, 4), read=VideoFile(tmp_path / "front.mp4"))
    clips = [Clip(name, Path(name), "test", {}, {front.name: front}) for name in "ab"]
    options = {"captions": ClipCaptions(folder=tmp_path / "texts"), "embeddings": tmp_path / "texts"}
    prepare = replace(WHOLE, samples_per_shard=1)

    def part(key: str, name: str) -> bytes | None:
        return samples(write(clips, tmp_path / "out", prepare, **options))[key][0].get(f"pinhole_front.{name}")

    assert part("a_000000", "txt") is None
    written = (tmp_path / "out" / "train-000001.tar").stat().st_mtime_ns
    (tmp_path / "texts" / "a.txt").write_text("rain")
    assert part("a_000000", "txt") == b"rain"
    (tmp_path / "texts" / "a.txt").write_text("sun")
    assert part("a_000000", "txt") == b"sun"
    (tmp_path / "texts" / "pinhole_front").mkdir()
    write_embeddings(tmp_path / "texts" / "pinhole_front" / "a.safetensors", {"text": np.ones((2, 4), np.float16)}, {})
    assert read_npy(part("a_000000", "text.npy") or b"").shape == (2, 4)
    assert (tmp_path / "out" / "train-000001.tar").stat().st_mtime_ns == written  # of the other clip
    os.utime(tmp_path / "front.mp4", ns=(1, 1))
    assert part("b_000000", "txt") is None
    assert (tmp_path / "out" / "train-000001.tar").stat().st_mtime_ns > written


def test_a_video_that_is_taken_whole_is_copied(tmp_path: Path):
    write_mp4(tmp_path / "front.mp4", [image_of(0, frame) for frame in range(6)], 10.0)
    front = replace(camera("pinhole_front", 0, 6), read=VideoFile(tmp_path / "front.mp4"))
    clip = Clip("a", Path("a"), "test", {}, {front.name: front})
    ((parts, _),) = samples(write([clip], tmp_path / "out")).values()
    assert parts["pinhole_front.mp4"] == (tmp_path / "front.mp4").read_bytes()
    ((parts, _),) = samples(write([clip], tmp_path / "half", fps=5.0)).values()
    assert len(VideoFile(Path("x"), content=parts["pinhole_front.mp4"])) == 3


def test_the_same_clips_give_the_same_bytes_in_any_number_of_processes(tmp_path: Path):
    clips = [camera_clip(f"clip{number}", 3) for number in range(4)]
    split = PrepareOptions(split=(0.5, 0.5), samples_per_shard=1)
    for name, jobs in (("one", 1), ("two", 2)):
        write_multiview(clips, tmp_path / name, MultiviewOptions(), split, jobs)
    names = sorted(path.name for path in (tmp_path / "one").glob("*.tar"))
    assert len(names) == 4
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def unreadable(index: int) -> np.ndarray:
    raise DataError(f"image {index} is broken", key="x")


def test_clips_that_cannot_be_used_are_reported(tmp_path: Path):
    whole, missing = camera_clip("whole", 2), camera_clip("missing", 2, names=NAMES[:4])
    broken = camera_clip("broken", 2)
    broken.cameras[NAMES[1]] = replace(broken.cameras[NAMES[1]], read=unreadable)
    late = camera_clip("late", 2)
    late.cameras[NAMES[0]] = replace(late.cameras[NAMES[0]], timestamps_us=np.arange(2))
    folder = write([whole, missing, broken, late], tmp_path / "out", replace(WHOLE, bad_budget=0.8))
    assert list(samples(folder)) == ["whole_000000"]
    problems = {row["clip"]: row["problem"] for row in json.loads((folder / "report.json").read_text())["left_out"]}
    assert problems["missing"].startswith("no camera pinhole_side_right [file missing, clip missing]")
    assert "image 0 is broken" in problems["broken_000000"]
    assert "no instant at which every camera has an image" in problems["late"]
    with pytest.raises(DataError, match="3 clips cannot be used"):
        write([whole, missing, broken, late], tmp_path / "strict")


def test_what_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no cameras in these recordings"):
        write([Clip("a", Path("a"), "test")], tmp_path / "a")
    with pytest.raises(DataError, match="two clips of one id"):
        write([camera_clip("a", 2)] * 2, tmp_path / "b")
    with pytest.raises(UserError, match="no camera 'top'; valid: all, pinhole_side_left"):
        write([camera_clip("a", 2)], tmp_path / "c", views="top")
    with pytest.raises(UserError, match="fps 30: camera pinhole_side_left has 10 images"):
        write([camera_clip("a", 2)], tmp_path / "d", fps=30.0)
    for options in ({"format": "png"}, {"fps": -1.0}, {"tolerance_s": -1.0}):
        with pytest.raises(UserError, match=r"valid: mp4, jpg|0 or more"):
            MultiviewOptions(**options)
