import numpy as np
import pytest

from cosmos_lidar.synth import CLASS_NAMES
from cosmos_lidar.viz.label_colors import UNLABELED, class_colors, class_names


def test_colors_depend_on_the_id_alone():
    alone = class_colors(np.array([40]))[0]
    among = class_colors(np.array([0, 10, 40, 65535]))
    assert among.dtype == np.uint8
    assert (among[2] == alone).all()
    assert tuple(among[0]) == UNLABELED


@pytest.mark.parametrize("ids", [range(32), sorted(CLASS_NAMES), range(1, 23)])
def test_classes_of_a_dataset_can_be_told_apart(ids):
    colors = class_colors(np.array(list(ids))).astype(float)
    gaps = np.linalg.norm(colors[:, None] - colors[None], axis=-1) + 1e9 * np.eye(len(colors))
    assert gaps.min() > 15
    assert (colors @ [0.3, 0.59, 0.11]).min() > 75, "seen on the dark ground of the 3D view"


def test_hue_follows_the_golden_ratio():
    import colorsys

    for number in (1, 7, 50):
        hue, _, _ = colorsys.rgb_to_hsv(*class_colors(np.array([number]))[0] / 255.0)
        assert hue == pytest.approx(number * (5**0.5 - 1) / 2 % 1, abs=0.01)


def test_names_come_from_the_reader():
    assert class_names("synth")[40] == "road"
    kitti = class_names("semantickitti")
    assert {number: kitti[number].replace("unlabeled", "nothing") for number in CLASS_NAMES} == CLASS_NAMES
    assert (class_names("nuscenes")[24], max(class_names("nuscenes"))) == ("driveable surface", 31)
    assert class_names("shards") == {}
    assert class_names("ddad") == {}
