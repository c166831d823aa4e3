"""The sample format of points: what is in a sample, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.shards.latents import array_bytes
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.points import PointsMeta, read_document, read_meta, read_points_facts, read_sweep, write_meta
from cosmos_lidar.shards.points_writer import write_points
from cosmos_lidar.shards.sources import resolve
from tests.shards.point_clips import labeled_clip

META = PointsMeta(
    clip_id="a", frame_id="7", frame_number=7, timestamps_us=[0, 1], world_SE3_lidar=np.eye(4).tolist(),
    origins_m=[[0.0, 0.0, 0.0], [1.0, 0.0, 0.5]], dataset="kitti", sensor="s", points=2,
)  # fmt: skip


def sample(**changed: bytes) -> dict[str, bytes]:
    parts = {
        "points_npy": array_bytes(np.ones((2, 3), np.float32)),
        "labels_npy": array_bytes(np.array([1, 2], np.uint16)),
        "meta_json": write_meta(META),
    } | changed
    return {name.replace("_", "."): part for name, part in parts.items() if part}


def test_a_description_is_read_as_it_was_written():
    assert read_meta(write_meta(META)) == META
    document = json.loads(write_meta(META))
    for wrong in ({"version": 2}, {"points": 0}, {"origins_m": [[0, 0]]}, {"world_SE3_lidar": [[1]]}, {"clip_id": 3},
                  {"other": 1}, {"points": 1 << 40}):  # fmt: skip
        with pytest.raises(DataError, match=r"meta\.json"):
            read_meta(json.dumps(document | wrong).encode())


def test_the_arrays_of_a_sample_are_checked():
    sweep = read_sweep(sample())
    assert sweep.values["labels"].tolist() == [1, 2]
    assert list(read_sweep(sample(), ("intensity",)).values) == []
    for part, array in (
        ("points_npy", np.ones((3, 3), np.float32)),
        ("points_npy", np.full((2, 3), np.nan, np.float32)),
        ("labels_npy", np.array([1, 2, 3], np.uint8)),
        ("labels_npy", np.array([1, -2], np.int32)),
    ):
        with pytest.raises(DataError, match=part.replace("_", r"\.")):
            read_sweep(sample(**{part: array_bytes(array)}))
    with pytest.raises(DataError, match=r"part missing.*points\.npy"):
        read_sweep(sample(points_npy=b""))


def test_values_that_are_asked_for_must_be_in_every_folder(tmp_path: Path):
    pytest.importorskip("megatron.energon")
    options = PrepareOptions(split=(1.0,))
    write_points([labeled_clip("a", 1)], tmp_path / "a", options)
    bare = labeled_clip("b", 1)
    read = bare.read_sweep
    without = bare.with_lidar(read=lambda number: type(read(number))(points=read(number).points))
    write_points([without], tmp_path / "b", options)
    facts = read_points_facts(resolve(tmp_path / "a", "train"), ("labels",))
    assert (facts.values, facts.dataset) == (("intensity", "time", "labels"), "test")
    assert read_document(tmp_path / "a")["clips"] == {"train": ["a"]}
    both = resolve(f"{tmp_path / 'a'},{tmp_path / 'b'}", "train")
    assert read_points_facts(both).values == ()
    with pytest.raises(UserError, match=r"/b: its points have no labels"):
        read_points_facts(both, ("labels",))
    with pytest.raises(DataError, match=r"points\.json"):
        read_document(tmp_path)
