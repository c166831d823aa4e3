from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from cosmos_lidar.clips import find_readers
from cosmos_lidar.clips.files import clean_id
from cosmos_lidar.clips.splits import open_published, published_split, published_splits, split_names
from cosmos_lidar.errors import UserError

SIZES = {  # as the datasets state them
    ("nuscenes", "train"): 700,
    ("nuscenes", "val"): 150,
    ("nuscenes", "test"): 150,
    ("nuscenes", "parametrizing"): 600,
    ("nuscenes", "verifying"): 100,
    ("nuscenes", "mini_train"): 8,
    ("nuscenes", "mini_val"): 2,
    ("av2", "train"): 700,
    ("av2", "val"): 150,
    ("av2", "test"): 150,
    ("semantickitti", "train"): 10,
    ("semantickitti", "val"): 1,
    ("semantickitti", "test"): 11,
    ("kitti360", "train"): 9,
    ("kitti360", "test"): 2,
    ("once", "train"): 6,
    ("once", "val"): 4,
    ("once", "test"): 10,
    ("semanticposs", "train"): 5,
    ("semanticposs", "val"): 1,
    ("nuplan", "navtrain"): 1192,
    ("nuplan", "navtest"): 136,
}


def test_sizes_are_those_that_the_datasets_state():
    found = {(dataset, split) for dataset, splits in published_splits().items() for split in splits}
    assert found == set(SIZES)
    for (dataset, split), size in SIZES.items():
        names = published_split(dataset, split)
        assert len(names) == len(set(names)) == size
        assert all(name == name.strip() and " " not in name for name in names)


@pytest.mark.parametrize("dataset", published_splits())
def test_no_drive_is_in_two_splits(dataset):
    parts = ("mini_train", "mini_val", "parametrizing", "verifying")  # of other splits
    splits = [split for split in published_splits()[dataset] if split not in parts]
    names = [name for split in splits for name in published_split(dataset, split)]
    assert len(names) == len(set(names))


def test_parts_of_the_train_scenes():
    parts = {name for split in ("parametrizing", "verifying") for name in published_split("nuscenes", split)}
    assert parts == set(published_split("nuscenes", "train"))


def test_mini_scenes_are_those_of_the_full_set():
    """Two scenes of mini_train are of the full set's val: numbers of the two are not to be mixed."""
    full = {*published_split("nuscenes", "train"), *published_split("nuscenes", "val")}
    mini = set(published_split("nuscenes", "mini_train"))
    assert mini | set(published_split("nuscenes", "mini_val")) <= full
    assert mini & set(published_split("nuscenes", "val")) == {"scene-0553", "scene-0796"}


def test_known_members(test_data):
    assert published_split("semantickitti", "val") == ("08",)
    assert "scene-0103" in published_split("nuscenes", "val")
    (log,) = (path.parent.name for path in (test_data / "av2").glob("sensor/val/*/calibration"))
    assert log in published_split("av2", "val")


def test_lists_that_were_published_together_are_a_split():
    split = open_published("nuscenes_also")
    counts = {name: sum(found == name for found in split.names.values()) for name in ("train", "val", "test")}
    assert counts == {"train": 600, "val": 100, "test": 150}
    assert split.of(published_split("nuscenes", "verifying")[0], Path()) == "val"
    assert split.of(published_split("nuscenes", "val")[0], Path()) == "test"


def test_logs_of_nuplan_are_named_as_published():
    """A drive is a start and a vehicle; its logs are seconds of it that do not overlap, of a minute or more."""
    spans: dict[str, list[tuple[int, int]]] = {}
    for log in (*published_split("nuplan", "navtrain"), *published_split("nuplan", "navtest")):
        named = re.fullmatch(r"(2021(?:\.\d\d){5}_veh-\d\d)_(\d{5})_(\d{5})", log)
        assert named, log
        spans.setdefault(named[1], []).append((int(named[2]), int(named[3])))
    assert len(spans) == 162 + 44  # no drive in both
    for found in map(sorted, spans.values()):
        assert all(end - start >= 60 for start, end in found)
        assert all(end < start for (_, end), (start, _) in itertools.pairwise(found))


def test_clips_of_nuplan_are_found_by_their_ids():
    split = open_published("nuplan_navsim")
    counts = {name: sum(found == name for found in split.names.values()) for name in ("train", "val", "test")}
    assert counts == {"train": 1192, "val": 0, "test": 136}
    assert split.of("2021_05_12_22_00_38_veh-35_01008_01518", Path()) == "train"
    assert split.of(clean_id("2021.10.06.08.16.17_veh-52_00032_00170"), Path()) == "test"


def test_a_split_file_is_a_split(tmp_path):
    (tmp_path / "nuplan.yaml").write_text("log_splits: {val: [2021.05.12.19.36.12_veh-35_00005_00204]}\n")
    split = open_published(str(tmp_path / "nuplan.yaml"))
    assert split.of("2021_05_12_19_36_12_veh-35_00005_00204", Path()) == "val"
    assert split.of("2021_05_12_19_36_12_veh-35_00215_00405", Path()) is None


def test_unknown_splits_name_the_known_ones():
    with pytest.raises(UserError, match="no published split of 'nuscene'.*nearest is nuscenes"):
        published_split("nuscene", "val")
    with pytest.raises(
        UserError,
        match="no split .valid. of nuscenes: known are mini_train, mini_val, parametrizing, test, .*verifying",
    ):
        published_split("nuscenes", "valid")


def test_datasets_are_names_of_readers():
    assert set(published_splits()) <= set(find_readers())


def test_names_of_whole_splits():
    assert split_names() == (
        "av2", "kitti360", "nuplan_navsim", "nuscenes", "nuscenes_also", "nuscenes_mini", "once", "semantickitti",
        "semanticposs", "waymo", "waymo_v2",
    )  # fmt: skip
    assert {re.sub("_(mini|also|navsim)$", "", name) for name in split_names()} <= set(find_readers())
    with pytest.raises(UserError, match="no published split 'nuscene': known are av2.*nearest is nuscenes"):
        open_published("nuscene")


def test_a_name_finds_its_split():
    full, mini = open_published("nuscenes"), open_published("nuscenes_mini")
    assert len(full.names) == 1000
    assert len(mini.names) == 10
    here = Path("samples")
    assert (full.of("scene-0103", here), mini.of("scene-0103", here)) == ("val", "val")
    assert (full.of("scene-0553", here), mini.of("scene-0553", here)) == ("val", "train")
    assert full.of("scene-9999", Path("train/scene-9999")) is None


@pytest.mark.parametrize("name", ["waymo", "waymo_v2"])
def test_waymo_keeps_its_splits_as_folders(name, tmp_path):
    published = open_published(name)
    files = {
        "training/segment-1.tfrecord": "train",
        "validation/segment-2.tfrecord": "val",
        "testing/a/segment-3.tfrecord": "test",
        "domain_adaptation/validation/segment-4.tfrecord": "val",
        "training/old/validation/segment-5.tfrecord": "val",
        "training": "train",  # of v2 the folder of components
        "segments/segment-6.tfrecord": None,
    }
    assert {file: published.of("segment", tmp_path / file) for file in files} == files
