from __future__ import annotations

import pytest
import torch

from cosmos_lidar.models.dit import find_shape
from cosmos_lidar.models.dit.predict2.positions import view_angles
from tests.models.dit.predict2.reference import TINY, vectors

CPU = torch.device("cpu")


@pytest.mark.parametrize(("compat", "name"), [(False, "rope_real_f32"), (True, "rope_real_bf16")])
def test_published_angles_of_two_views(compat: bool, name: str) -> None:
    config = find_shape("predict2_2b_multiview", compat=compat)
    one = view_angles(config, (8, 5, 7), 10.0, CPU).flatten(0, 2)
    torch.testing.assert_close(one.repeat(2, 1), vectors()[name], atol=2e-6, rtol=1e-6)


def test_tiny_network_of_three_views() -> None:
    one = view_angles(find_shape("predict2_2b_multiview", **TINY), (2, 4, 6), 10.0, CPU).flatten(0, 2)
    wanted = vectors()["rope_tiny"]
    angles = torch.cat([one, one], dim=-1).repeat(3, 1)
    torch.testing.assert_close(angles, wanted, atol=2e-6, rtol=1e-6)


def test_published_example() -> None:
    """Token (t 7, h 4, w 6) at 10 frames per second."""
    for compat, wanted in ((False, [16.8, 11.646921, 8.074451]), (True, [16.75, 11.5625, 8.0625])):
        angles = view_angles(find_shape("predict2_2b_multiview", compat=compat), (8, 5, 7), 10.0, CPU)
        assert angles[7, 4, 6, :3].tolist() == pytest.approx(wanted, abs=1e-5)


def test_single_view_networks_count_frames() -> None:
    config = find_shape("predict2_2b_video2world")
    angles = view_angles(config, (3, 1, 1), 10.0, CPU)
    assert angles[:, 0, 0, 0].tolist() == [0.0, 1.0, 2.0]
    assert torch.equal(angles, view_angles(config, (3, 1, 1), None, CPU))


def test_rounding_is_what_the_published_programs_lose_at_720p() -> None:
    exact, rounded = (
        view_angles(find_shape("predict2_2b_multiview", compat=c), (8, 44, 80), 10.0, CPU) for c in (0, 1)
    )
    assert float((exact - rounded).abs().max()) == pytest.approx(0.187, abs=1e-3)
