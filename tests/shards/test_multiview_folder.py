"""The published folder trained on as it is, and prepared: the same frames and texts, exact resume, what is missing."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("megatron.energon")

from cosmos_lidar.cli import main
from cosmos_lidar.clips.convert import convert_clips
from cosmos_lidar.clips.multiview_folder import find_multiview_folder
from cosmos_lidar.clips.video import write_mp4
from cosmos_lidar.clips.writers._contract import WriteOptions
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.shards.multiview_folder import (
    embedded_prefixes,
    expect_folder,
    index_folder,
    published_split,
    published_views,
)
from energon_tasks.multiview import ViewWindow, multiview_loader
from tests.clips.readers.test_multiview import write_sample
from tests.shards.cameras import IDS, NAMES, camera_clip, image_of, numbers_of

CLIPS = tuple(f"clip{number}" for number in range(5))
WIDTH = 8


@pytest.fixture
def waymo(tmp_path: Path) -> Path:
    """As the published script leaves it: captions and embeddings of all cameras, embeddings of prefixes."""
    root = write_sample(tmp_path / "waymo", frames=7, clips=CLIPS)
    (root / "cache").mkdir()
    for number, name in enumerate(NAMES):
        (root / "t5_xxl" / name).mkdir(parents=True)
        prefix = [np.full((1, WIDTH), 100 + number, np.float16)]
        (root / "cache" / f"prefix_t5_embeddings_{name}.pickle").write_bytes(pickle.dumps(prefix))
        for place, clip in enumerate(CLIPS):
            rows = np.full((2, WIDTH), 10 * number + place, np.float16)
            suffix = ("pkl", "pickle")[place % 2]
            (root / "t5_xxl" / name / f"{clip}.{suffix}").write_bytes(pickle.dumps([rows] if place % 3 else rows[None]))
    return root


def loader(path: Path, split: str = "val", **options: object):
    window = ViewWindow(frames=5, size=(48, 64), views=(4, 5, 0, 1, 2))
    defaults = {"batch_size": 1, "training": split == "train", "window": window, "text_shape": (4, WIDTH), "rank": 0,
                "world_size": 1}  # fmt: skip
    return multiview_loader(path, split, **defaults | options)


def test_training_reads_the_folder_where_it_is(waymo: Path):
    (batch,) = loader(waymo)
    assert batch.clip_ids == ["clip4"]  # the last tenth, and one more
    assert numbers_of(batch.frames[0]) == ([0, 1, 2, 3, 4], [1, 2, 3, 4, 5])
    assert batch.view_ids.tolist() == [list(IDS)]
    text = batch.text[0].reshape(5, 4, WIDTH)[:, :, 0]
    assert text.tolist() == [[0] * 4, [0] * 4, [24, 24, 0, 0], [0] * 4, [0] * 4]
    assert batch.captions[0][2] == "A street, seen by pinhole_front."
    assert sorted(path.name for path in waymo.iterdir()) == [".multiview", "cache", "metas", "t5_xxl", "videos"]


def test_every_view_has_its_prefix_and_its_caption(waymo: Path):
    (batch,) = loader(waymo, captions="every")
    text = batch.text[0].reshape(5, 4, WIDTH)[:, :, 0]
    assert text.tolist() == [[100.0 + view, 10.0 * view + 4, 10.0 * view + 4, 0] for view in range(5)]


def test_prepared_shards_give_the_same_batches(waymo: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert main(["prepare", str(waymo), str(out), "--task", "multiview", "--split", "0.8,0.2"]) == 0
    assert main(["check", str(out)]) == 0
    prepared = {batch.clip_ids[0]: batch for batch in loader(out, "val", captions="every")}
    prepared |= {batch.clip_ids[0]: batch for batch in loader(out, "train", training=False, captions="every")}
    asis = [batch for split in ("train", "val") for batch in loader(waymo, split, training=False, captions="every")]
    assert [batch.clip_ids[0] for batch in asis] == list(CLIPS)
    for batch in asis:
        same = prepared[batch.clip_ids[0]]
        assert torch.equal(batch.frames[0], same.frames[0])
        assert torch.equal(batch.text, same.text)
        assert batch.captions == same.captions
        assert batch.content == same.content


def test_names_with_dots_and_blanks_keep_their_captions_and_embeddings(waymo: Path, tmp_path: Path):
    for file in waymo.rglob("clip4.*"):
        file.rename(file.with_name(file.name.replace("clip4", "clip4.a night")))
    out = tmp_path / "out"
    assert main(["prepare", str(waymo), str(out), "--task", "multiview", "--split", "0.8,0.2"]) == 0
    splits = [loader(out, split, training=False, captions="every") for split in ("train", "val")]
    prepared = {batch.clip_ids[0]: batch for batches in splits for batch in batches}
    (asis,) = loader(waymo, captions="every")
    assert asis.clip_ids == ["clip4_a_night"]
    assert torch.equal(prepared["clip4_a_night"].text, asis.text)
    assert prepared["clip4_a_night"].captions == asis.captions


def test_a_resumed_loader_gives_the_next_batches(waymo: Path):
    one = loader(waymo, "train")
    batches = iter(one)
    next(batches)
    state = one.save_state_rank()
    wanted = [(batch.content, batch.noise_seeds) for batch in (next(batches) for _ in range(5))]
    other = loader(waymo, "train")
    other.restore_state_rank(state)
    resumed = iter(other)
    assert [(batch.content, batch.noise_seeds) for batch in (next(resumed) for _ in range(5))] == wanted


def test_changed_files_make_another_index(waymo: Path):
    folder = expect_folder(waymo)
    first = index_folder(folder)
    assert index_folder(folder) == first
    os.utime(waymo / "videos" / NAMES[0] / "clip0.mp4", ns=(1, 1))
    assert index_folder(folder) != first


def test_a_folder_that_cannot_be_written_to_is_indexed_in_the_cache(
    waymo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != waymo)
    (batch,) = loader(waymo)
    assert numbers_of(batch.frames[0])[0] == [0, 1, 2, 3, 4]
    assert not (waymo / ".multiview").exists()
    assert len(list((tmp_path / "cache" / "cosmos_lidar" / "multiview").iterdir())) == 1


def test_weights_and_lists_keep_their_order(waymo: Path, tmp_path: Path):
    other = write_sample(tmp_path / "waymo2", frames=5, clips=("a", "b", "c"))
    for path in ([waymo, other], f"{waymo},{other}", f"0.5,{waymo},0.5,{other}"):
        one = loader(path, "val", captions="none")
        assert [batch.clip_ids[0] for batch in one] == ["clip4", "c"]


def test_unequal_lengths_end_above_the_budget(waymo: Path):
    write_mp4(waymo / "videos" / NAMES[1] / "clip0.mp4", [image_of(1, frame) for frame in range(6)], 10.0)
    with pytest.raises(DataError, match=r"1 clips cannot be used; the last: 6 frames.*pinhole_side_left has 7"):
        loader(waymo)
    one = loader(waymo, "train", bad_sample_budget=0.5, training=False)
    assert [batch.clip_ids[0] for batch in one] == ["clip1", "clip2", "clip3"]


def test_a_missing_camera_folder_and_a_missing_prefix(waymo: Path):
    (waymo / "cache" / f"prefix_t5_embeddings_{NAMES[3]}.pickle").unlink()
    with pytest.raises(DataError, match="no prefix embedding of camera pinhole_front_right"):
        embedded_prefixes(expect_folder(waymo))
    (waymo / "videos" / NAMES[0]).rename(waymo / "x")
    with pytest.raises(DataError, match="no videos of camera pinhole_side_left"):
        loader(waymo)
    with pytest.raises(UserError, match="no folder of published layout"):
        expect_folder(waymo / "t5_xxl")


def test_a_missing_caption_is_counted_and_named(waymo: Path):
    (waymo / "t5_xxl" / "pinhole_front" / "clip4.pkl").unlink()
    with pytest.raises(DataError, match=r"the caption has no embedding.*clip4.*pinhole_front"):
        list(loader(waymo))
    (waymo / "metas" / "pinhole_front" / "clip4.txt").unlink()
    with pytest.raises(DataError, match=r"no caption.*clip4.*pinhole_front"):
        list(loader(waymo))
    assert len(list(loader(waymo, captions="none"))) == 1


def test_a_malicious_pickle_stops_training_and_is_not_run(waymo: Path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(waymo / "executed"),)

    (waymo / "t5_xxl" / "pinhole_front" / "clip4.pkl").write_bytes(pickle.dumps([Evil()]))
    with pytest.raises(DataError, match=r"refers to posix.mkdir, which may run anything"):
        list(loader(waymo))
    assert not (waymo / "executed").exists()


def test_the_published_split_and_ids():
    assert published_split(["a"]) == {"train": ["a"]}
    assert published_split(["a", "b"]) == {"train": ["a"], "val": ["b"]}
    many = [f"{number:03d}" for number in range(798)]
    split = published_split(many)
    assert (len(split["train"]), split["val"]) == (718, many[-80:])
    assert published_views(("pinhole_front", "other")) == {"pinhole_front": 0, "other": 1}
    assert find_multiview_folder(Path("nowhere")) is None


def test_times_poses_and_lenses_of_the_tars_beside_the_videos(tmp_path: Path):
    names = ("camera_front", "camera_front_left")
    convert_clips([camera_clip("a", 6, names)], tmp_path, "multiview", WriteOptions())
    window = ViewWindow(frames=5, size=(48, 64))
    (batch,) = loader(tmp_path, "train", training=False, window=window, captions="none")
    assert batch.cameras == [["pinhole_front_left", "pinhole_front"]]
    assert batch.view_ids.tolist() == [[5, 0]]
    assert batch.poses[0, 1, :, 0, 3].tolist() == pytest.approx([1, 2, 3, 4, 5])
    assert batch.lenses[0][1].fx == pytest.approx(32 / np.tan(0.6), rel=1e-5)
    assert np.allclose(np.diff(batch.times_s[0].numpy()), 0.1)
