"""Slots of text: which rows hold which embedding, and what is missing."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("megatron.energon")

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.shards.embed_captions import _texts_of_sample
from cosmos_lidar.shards.latents import array_bytes
from cosmos_lidar.shards.multiview import CameraFiles, MultiviewMeta
from cosmos_lidar.shards.text_files import text_key, write_embeddings
from energon_tasks.captions import SlotTexts

META = MultiviewMeta(clip_id="a", cameras=["left", "front", "right"], view_ids=[5, 0, 1], frames=3, fps=10.0)
WIDTH = 4


def rows(value: float, count: int = 2) -> np.ndarray:
    return np.full((count, WIDTH), value, np.float32)


def slots(texts: SlotTexts, parts: dict[str, bytes], places: object = (0, 1, 2), **where: object):
    found, names = texts.of_sample(parts, where.get("meta", META), places, where.get("root"), where.get("folder"))
    return found.reshape(len(places), texts.shape[0], WIDTH), names


def test_the_front_caption_stands_in_the_slot_of_the_front_view():
    parts = {"front.text.npy": array_bytes(rows(3.0)), "front.txt": b"rain\n", "left.text.npy": array_bytes(rows(9.0))}
    text, names = slots(SlotTexts("front", (5, WIDTH)), parts)
    assert not text[0].any()
    assert not text[2].any()
    assert text[1, :, 0].tolist() == [3, 3, 0, 0, 0]
    assert names == ["", "rain", ""]
    text, _ = slots(SlotTexts("front", (5, WIDTH)), parts, places=(1, 0))
    assert text[0, 0, 0] == 3
    assert not text[1].any()


def test_longer_texts_are_cut():
    text, _ = slots(SlotTexts("front", (3, WIDTH)), {"front.text.npy": array_bytes(rows(3.0, 8))})
    assert text[1, :, 0].tolist() == [3, 3, 3]


def test_none_is_zeros_whatever_there_is():
    text, names = slots(SlotTexts("none", (5, WIDTH)), {"front.text.npy": array_bytes(rows(3.0))})
    assert not text.any()
    assert names == ["", "", ""]


def test_embeddings_beside_the_shards_are_found_by_text(tmp_path: Path):
    write_embeddings(tmp_path / "text.safetensors", {text_key("rain"): rows(2.0).astype(np.float16)}, {})
    text, _ = slots(SlotTexts("front", (3, WIDTH)), {"front.txt": b" rain\n"}, folder=tmp_path)
    assert text[1, :, 0].tolist() == [2, 2, 0]
    assert text.dtype == torch.float32


def test_every_view_has_its_prefix_and_its_own_caption_or_that_of_the_front(tmp_path: Path):
    prefixes = {"left": "Left.", "front": "Ahead.", "right": "Right."}
    known = {"Left. a fence": 1.0, "Ahead. rain": 2.0, "Right. rain": 3.0}
    write_embeddings(tmp_path / "text.safetensors", {text_key(text): rows(v) for text, v in known.items()}, {})
    texts = SlotTexts("every", (3, WIDTH), {tmp_path: prefixes})
    text, names = slots(texts, {"front.txt": b"rain", "left.txt": b"a fence"}, folder=tmp_path)
    assert text[:, 0, 0].tolist() == [1, 2, 3]
    assert names == list(known)


def test_published_prefixes_stand_before_the_caption(tmp_path: Path):
    prefixes = {name: rows(10.0 + place, 1) for place, name in enumerate(META.cameras)}
    write_embeddings(tmp_path / "prefixes.safetensors", prefixes, {})
    parts = {"front.text.npy": array_bytes(rows(3.0)), "right.text.npy": array_bytes(rows(4.0))}
    text, _ = slots(SlotTexts("every", (4, WIDTH)), parts, folder=tmp_path)
    assert text[:, :, 0].tolist() == [[10, 3, 3, 0], [11, 3, 3, 0], [12, 4, 4, 0]]


def test_files_that_a_sample_names(tmp_path: Path):
    (tmp_path / "front.pkl").write_bytes(pickle.dumps([rows(5.0).astype(np.float16)]))
    (tmp_path / "front.txt").write_text("rain")
    files = [CameraFiles("left.mp4"), CameraFiles("front.mp4", "front.txt", "front.pkl"), CameraFiles("right.mp4")]
    meta = MultiviewMeta(**{**vars(META), "files": files})
    text, names = slots(SlotTexts("front", (3, WIDTH)), {}, meta=meta, root=tmp_path)
    assert text[1, :, 0].tolist() == [5, 5, 0]
    assert names[1] == "rain"


def test_without_a_front_view_the_first_view_lends_its_caption_as_it_is_embedded(tmp_path: Path):
    meta = MultiviewMeta(clip_id="a", cameras=["left", "right", "rear"], view_ids=[5, 1, 3], frames=3, fps=10.0)
    prefixes = {name: f"{name}:" for name in meta.cameras}
    parts = {"left.txt": b"a fence", "right.txt": b"a wall"}
    embedded = list(_texts_of_sample(parts, meta, prefixes))
    assert embedded == ["left: a fence", "right: a wall", "rear: a fence"]
    known = {text_key(text): rows(float(place)) for place, text in enumerate(embedded)}
    write_embeddings(tmp_path / "text.safetensors", known, {})
    texts = SlotTexts("every", (3, WIDTH), {tmp_path: prefixes})
    text, names = slots(texts, parts, meta=meta, places=(1, 2), folder=tmp_path)
    assert names == embedded[1:]
    assert text[:, 0, 0].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("captions", "parts", "message"),
    [
        ("front", {}, r"no caption \[clip a, key front\].*: front.txt, an embedding of it, or data.captions=none"),
        ("front", {"front.txt": b"rain"}, r"the caption has no embedding \[clip a, key front\].*embed-captions"),
        ("front", {"front.txt": b"\xff"}, r"not a readable caption.*front.txt"),
        ("front", {"front.text.npy": array_bytes(np.zeros((2, 9), np.float32))}, "of width 9.*width 4"),
        ("front", {"front.text.npy": b"broken"}, "key front.text.npy"),
        ("every", {"front.text.npy": array_bytes(rows(1.0))}, r"no prefix for this camera \[clip a, key left\]"),
    ],
)
def test_what_is_missing_is_named(captions: str, parts: dict[str, bytes], message: str):
    with pytest.raises(DataError, match=message):
        slots(SlotTexts(captions, (3, WIDTH)), parts)


def test_options_that_cannot_be():
    with pytest.raises(UserError, match="text_shape"):
        SlotTexts("front", (0, 4))
