import numpy as np

from cosmos_lidar.synth import CLASS_NAMES
from cosmos_lidar.synth.labels import DEPTH_M, GLASS, REFLECTIVITY, Material
from cosmos_lidar.synth.labels import MOVING as MOVING_OF

MOVING = (252, 253, 254, 258)


def test_labels_are_known_and_plentiful(exact):
    sweep = exact.read_sweep(0)
    assert np.array_equal(sweep.labels > 0, sweep.range_m > 0)
    assert set(np.unique(sweep.labels)) <= set(CLASS_NAMES)
    share = {label: (sweep.labels == label).mean() for label in (40, 50, 48, 10, 70)}
    assert min(share.values()) > 0.005, share
    assert {60, 80} <= set(np.unique(sweep.labels))
    assert set(np.unique(sweep.labels)) & set(MOVING)


def test_every_material_has_a_look():
    assert [Material(i) for i in range(len(Material))] == list(Material)
    assert len(REFLECTIVITY) == len(GLASS) == len(DEPTH_M) == len(Material)
    assert ((REFLECTIVITY > 0) & (REFLECTIVITY <= 1)).all()
    assert REFLECTIVITY.argmax() == Material.SIGN
    assert GLASS.argmax() == Material.GLASS
    assert DEPTH_M.argmax() == Material.LEAVES


def test_moving_classes_are_those_of_semantickitti():
    for still, moving in MOVING_OF.items():
        assert CLASS_NAMES[moving] == f"moving {CLASS_NAMES[still]}"
