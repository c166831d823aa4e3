from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import find_readers
from cosmos_lidar.clips.label_maps import label_map_names, load_label_map
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.synth import CLASS_NAMES

VECTORS = np.load(Path(__file__).parents[1] / "vectors" / "label_maps.npz")


@pytest.mark.parametrize(
    ("name", "vector", "classes"),
    [
        ("nuscenes", "G_nuscenes_32_to_17", 17),
        ("semantickitti", "G_semantickitti_260_to_20", 20),
        ("semanticposs", "G_semanticposs_23_to_14", 14),
    ],
)
def test_published_maps(name: str, vector: str, classes: int) -> None:
    found, published = load_label_map(name), VECTORS[vector]
    assert len(found.classes) == len(set(found.classes)) == classes
    known = np.flatnonzero(found.table >= 0)
    assert np.array_equal(found.table[known], published[known])
    assert set(np.flatnonzero(published)) <= set(known)


def test_every_class_of_readers_and_synthetic_drives_has_one() -> None:
    names = ("nuscenes", "pandaset", "semantickitti", "waymo")
    numbers = {name: find_readers()[name].CLASS_NAMES for name in names} | {"synth": CLASS_NAMES}
    for name, names in numbers.items():
        assert load_label_map(name).apply(np.array(list(names))).max() < len(load_label_map(name).classes)
    inverse = VECTORS["G_semantickitti_inv"]
    assert load_label_map("semantickitti").apply(inverse).tolist() == list(range(20))


def test_labels_that_do_not_fit_are_named() -> None:
    found = load_label_map("nuscenes")
    with pytest.raises(DataError, match=r"2 labels of unknown classes 32, 200.*a.bin.*label map nuscenes"):
        found.apply(np.array([1, 32, 200], np.uint8), file="a.bin")
    with pytest.raises(DataError, match=r"3 labels of 4 points.*a.bin"):
        found.apply(np.array([1, 2, 3]), points=4, file="a.bin")
    with pytest.raises(DataError, match="labels from -1 to 70000"):
        found.apply(np.array([-1, 70000]))
    assert found.apply(np.zeros(0, np.uint8), points=0).shape == (0,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("map: {0: 0}", "2 to 256 classes"),
        ("classes: [a, b]", "no mapping"),
        ("classes: [a, b]\nmap: {0: 2}", "0: 2"),
        ("classes: [a, b]\nmap: {70000: 1}", "70000: 1"),
        ("classes: [a, b]\nmap: {1: true}", "1: True"),
        ("[]", "not a mapping"),
    ],
)
def test_files_that_are_no_maps(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        load_label_map(path)


def test_a_file_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("classes: [other, car]\nmap: {7: 1, 9: 0}")
    assert load_label_map(tmp_path / "mine.yaml").apply(np.array([9, 7, 7])).tolist() == [0, 1, 1]
    with pytest.raises(UserError, match="valid: nuscenes, pandaset, semantickitti, semanticposs, synth, waymo"):
        load_label_map("mine")
    assert "synth" in label_map_names()


def test_waymo_and_pandaset_by_name() -> None:
    readers = find_readers()
    waymo, names = load_label_map("waymo"), readers["waymo"].CLASS_NAMES
    assert readers["waymo_v2"].CLASS_NAMES == names
    assert names[16] == "tree trunk"  # of segmentation.proto: TYPE_TREE_TRUNK = 16
    assert [waymo.classes[one] for one in waymo.apply(np.arange(1, 23))] == [names[one] for one in range(1, 23)]
    assert waymo.apply(np.zeros(1, int)) == 0
    pandaset, names = load_label_map("pandaset"), readers["pandaset"].CLASS_NAMES
    found: dict[str, set[str]] = {}
    for number, label in enumerate(pandaset.apply(np.arange(43))):
        found.setdefault(pandaset.classes[label], set()).add(names[number])
    assert len(found) == 18
    assert found["truck"] == {"pickup truck", "medium-sized truck", "semi-truck"}
    assert found["traffic cone"] == {"pylon", "cone"}
    assert {"noise", "smoke", "exhaust", "spray or rain", "reflection", "bird"} < found["unlabeled"]
    assert len(found["unlabeled"]) == 11
