"""Descriptions of samples of several cameras, facts of folders, readers of parts."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cosmos_lidar.errors import DataError
from cosmos_lidar.shards.multiview import (
    CameraFiles,
    MultiviewMeta,
    image_part,
    lies_inside,
    open_frames,
    read_facts,
    read_meta,
    write_meta,
)

META = MultiviewMeta(clip_id="a", cameras=["front", "left"], view_ids=[0, 5], frames=3, fps=10.0,
                     clock_us=[0, 1, 2], times_us=[[0, 1, 2], [3, 4, 5]], frame_ids=["0", "1", "2"])  # fmt: skip


def test_a_description_is_read_back():
    files = [CameraFiles("videos/front/a.mp4"), CameraFiles("videos/left/a.mp4", "metas/left/a.txt")]
    assert read_meta(write_meta(META)) == META
    assert read_meta(write_meta(replace(META, files=files))).files == files
    assert (META.place("left"), META.place(5), META.place(0)) == (1, 1, 0)
    with pytest.raises(DataError, match=r"no view 3 \[clip a\] Expected: one of: front \(0\), left \(5\)"):
        META.place(3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"view_ids": [0]}, "view_ids"),
        ({"view_ids": [0, -1]}, "view_ids"),
        ({"cameras": ["front", "front"]}, "cameras"),
        ({"frames": 0}, "0 frames"),
        ({"fps": -1.0}, "-1.0 per second"),
        ({"times_us": [[0, 1, 2]]}, "times_us of another length"),
        ({"clock_us": [0, 1]}, "times of another length"),
        ({"files": [CameraFiles("../../etc/passwd"), CameraFiles("a.mp4")]}, "a file outside of its folder"),
        ({"files": [CameraFiles("a.mp4", "/etc/passwd"), CameraFiles("a.mp4")]}, "a file outside of its folder"),
    ],
)
def test_descriptions_that_contradict_themselves(changes: dict, message: str):
    with pytest.raises(DataError, match=message):
        read_meta(write_meta(replace(META, **changes)))


@pytest.mark.parametrize("content", [b"", b"[]", b'{"version": 1}', b'{"version": 2, "tool": "x"}'])
def test_other_descriptions(content: bytes):
    with pytest.raises(DataError, match="meta.json"):
        read_meta(content)
    document = json.loads(write_meta(META)) | {"version": 7}
    with pytest.raises(DataError, match="version 7"):
        read_meta(json.dumps(document).encode())


def test_paths_that_leave_the_folder():
    assert lies_inside("videos/a.mp4")
    assert lies_inside("")
    assert not lies_inside("/videos/a.mp4")
    assert not lies_inside("videos/../../a.mp4")


def test_frames_as_single_images():
    parts = {}
    for number in range(3):
        stream = io.BytesIO()
        Image.new("RGB", (16, 8), (100 * number, 0, 0)).save(stream, "JPEG")
        parts[image_part("front", number)] = stream.getvalue()
    frames = open_frames(parts, META, "front")
    assert len(frames) == 3
    assert [int(frames(number)[..., 0].mean() / 100 + 0.5) for number in range(3)] == [0, 1, 2]
    del parts[image_part("front", 1)]
    with pytest.raises(DataError, match=r"part missing.*front.000001.jpg"):
        open_frames(parts, META, "front")
    with pytest.raises(DataError, match=r"part missing.*left.mp4"):
        open_frames(parts, META, "left")
    parts[image_part("front", 1)] = b"no image"
    with pytest.raises(DataError, match=r"front.000001.jpg"):
        open_frames(parts, META, "front")(1)


@pytest.mark.parametrize("text", ["{", "[]", '{"views": []}', '{"views": [{"name": "a"}], "longest": 1}'])
def test_documents_that_cannot_be_read(tmp_path: Path, text: str):
    (tmp_path / "multiview.json").write_text(text)
    with pytest.raises(DataError, match=r"not readable.*multiview\.json.*prepare --task multiview"):
        read_facts(tmp_path)


def test_facts_of_a_folder(tmp_path: Path):
    document = {"views": [{"name": "front", "view_id": 0}], "longest": 9, "root": "..", "prefixes": {"front": "x"}}
    (tmp_path / "multiview.json").write_text(json.dumps(document))
    facts = read_facts(tmp_path)
    assert (facts.cameras, facts.view_ids, facts.longest) == (("front",), (0,), 9)
    assert facts.root == tmp_path / ".."
    assert facts.prefixes == {"front": "x"}
    assert np.array_equal(facts.view_ids, [0])
