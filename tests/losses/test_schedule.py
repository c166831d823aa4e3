from __future__ import annotations

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.losses.schedule import piecewise_constant


@pytest.mark.parametrize(("step", "value"), [(0, 0.0), (249_999, 0.0), (250_000, 0.01), (10**9, 0.01)])
def test_weights_change_at_their_step(step: int, value: float):
    assert piecewise_constant(step, [250_000], [0.0, 0.01]) == value


def test_several_boundaries_and_the_published_default():
    assert [piecewise_constant(step, [2, 5], [1.0, 2.0, 3.0]) for step in range(7)] == [1, 1, 2, 2, 2, 3, 3]
    assert piecewise_constant(0, [0], [9.0, 1.0]) == 1.0


def test_a_schedule_needs_one_more_value():
    with pytest.raises(UserError, match="2 values for 2 boundaries: expected one more value"):
        piecewise_constant(0, [1, 2], [0.0, 1.0])
    with pytest.raises(UserError, match=r"boundaries \[5, 2\]: they must rise"):
        piecewise_constant(0, [5, 2], [0.0, 1.0, 2.0])
