import math

import pytest
import torch

from cosmos_lidar.models.dit.embeddings import absolute_positions, rotary_angles, sinusoid, split_three


@pytest.mark.parametrize(
    ("channels", "parts"), [(128, (44, 42, 42)), (96, (32, 32, 32)), (24, (8, 8, 8)), (6, (2, 2, 2))]
)
def test_channels_are_split_into_even_thirds(channels: int, parts: tuple[int, int, int]):
    assert split_three(channels) == parts
    assert sum(parts) == channels
    assert not any(part % 2 for part in parts)


def test_sinusoid_by_hand():
    found = sinusoid(torch.tensor([0.0, 3.0]), 8)
    assert found[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    angles = [3.0 * 10000 ** (-i / 4) for i in range(4)]
    assert found[1].tolist() == pytest.approx([math.cos(a) for a in angles] + [math.sin(a) for a in angles], abs=1e-6)


def test_rotary_angles_of_each_axis():
    angles = rotary_angles(3, 4, 5, head_dim=12, frame_step=0.5, seq=torch.arange(8.0))
    assert angles.shape == (3, 4, 5, 12)
    for t, h, w in ((0, 0, 0), (2, 1, 4), (1, 3, 2)):
        half = [p * 10000 ** (-2 * k / 4) for p in (t * 0.5, h, w) for k in range(2)]
        assert angles[t, h, w].tolist() == pytest.approx(half + half, abs=1e-6)


def test_absolute_positions_are_sine_and_cosine_tables_side_by_side():
    found = absolute_positions(2, 3, 4, channels=12, device=torch.device("cpu"))
    assert found.shape == (2, 3, 4, 12)
    for t, h, w in ((0, 0, 0), (1, 2, 3)):
        wanted = [f(p * 10000 ** (-k / 2)) for p in (t, h, w) for f in (math.sin, math.cos) for k in range(2)]
        assert found[t, h, w].tolist() == pytest.approx(wanted, abs=1e-6)
