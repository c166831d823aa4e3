"""Image of a confusion matrix: colors by share of the row, names of the classes that occur."""

from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.viz.colormap import apply_colormap
from cosmos_lidar.viz.confusion import confusion_image

COUNTS = np.array([[0, 0, 0, 0], [0, 30, 10, 0], [0, 0, 5, 0], [0, 0, 0, 0]])
NAMES = ("none", "car", "road", "sky")


def test_a_cell_has_the_color_of_its_share():
    image = confusion_image(COUNTS, NAMES)
    cells = image[-2 * 34 :, -2 * 34 :].reshape(2, 34, 2, 34, 3)[:, 1, :, 1]  # beside the numbers
    wanted = np.round(apply_colormap(np.array([[0.75, 0.25], [0.0, 1.0]]), "viridis")[..., :3] * 255)
    np.testing.assert_array_equal(cells, wanted)


def test_names_are_longer_than_the_cells_above_and_on_the_left():
    short, long = (confusion_image(COUNTS, (*NAMES[:2], name, "sky")) for name in ("a", "a class of a long name"))
    assert long.shape[0] == long.shape[1] > short.shape[0] + 60


def test_without_points_or_names_there_is_none():
    with pytest.raises(UserError, match="without points"):
        confusion_image(COUNTS * 0, NAMES)
    with pytest.raises(UserError, match="3 names"):
        confusion_image(COUNTS, NAMES[:3])
