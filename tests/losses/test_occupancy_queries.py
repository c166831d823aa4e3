from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.losses.occupancy_queries import (
    Seeds,
    draw_kept,
    draw_queries,
    draw_shift,
    draw_turn,
    make_queries,
    pretext_sweep,
)

VECTORS = np.load(Path(__file__).parents[1] / "vectors" / "occupancy.npz")


def sweep(count: int = 5000) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(count, 3, generator=generator) * 20
    return points, torch.rand(count, 1, generator=generator)


def test_published_queries() -> None:
    v = {key.removeprefix("F_"): torch.from_numpy(VECTORS[key]) for key in VECTORS.files if key.startswith("F_")}
    seeds = Seeds(v["choice_in"], v["choice_out"], v["choice_far"], v["u_in"][:, 0], v["u_out"][:, 0], v["u_far"][:, 0])
    found = make_queries(v["pos"], v["int"], seeds)
    torch.testing.assert_close(found.points, v["q_pos"], rtol=1e-6, atol=1e-6)
    assert torch.equal(found.occupied, v["q_occ"])
    assert torch.equal(found.intensities, v["q_int"])


def test_where_queries_lie() -> None:
    points, intensities = sweep()
    found = draw_queries(points, intensities, 2048, generator=torch.Generator().manual_seed(1))
    assert found.occupied.tolist() == [1] * 684 + [0] * 1364
    assert (found.intensities[1366:] == -1).all()
    assert (found.intensities[:1366] >= 0).all()
    near = found.points[:1366]
    offsets = near[:, None, :] - points
    nearest = offsets.square().sum(2).sqrt().amin(1)
    assert nearest.max() < 0.1001
    directions = torch.nn.functional.normalize(points, dim=1)
    cosines = torch.nn.functional.normalize(found.points, dim=1) @ directions.t()
    ray = cosines.argmax(1)
    assert (cosines.amax(1) > 1 - 1e-5).all()
    beyond = found.points.norm(dim=1) - points[ray].norm(dim=1)
    assert (beyond[:684] >= -1e-4).all()
    assert (beyond[684:] <= 1e-4).all()
    shares = found.points[1366:].norm(dim=1) / points[ray[1366:]].norm(dim=1)
    counts = torch.histc(shares, 4, 0, 1)
    assert (counts - 682 / 4).abs().max() < 5 * (682 * 3 / 16) ** 0.5


def test_few_points_give_few_queries() -> None:
    points, intensities = sweep(10)
    found = draw_queries(points, intensities, 2048)
    assert found.occupied.tolist() == [1] * 10 + [0] * 20


def test_points_are_a_random_part_or_all_in_order() -> None:
    points, _ = sweep(100)
    assert draw_kept(points, 100).tolist() == list(range(100))
    kept = draw_kept(points, 60, torch.Generator().manual_seed(0))
    assert len(set(kept.tolist())) == 60
    assert kept.tolist() != sorted(kept.tolist())


def test_turns_are_rotations_about_z_and_flips_of_x() -> None:
    turns = torch.stack([draw_turn(generator=torch.Generator().manual_seed(seed)) for seed in range(400)])
    torch.testing.assert_close(turns @ turns.transpose(1, 2), torch.eye(3).expand(400, 3, 3), atol=1e-6, rtol=0)
    assert (turns[:, 2] == torch.tensor([0.0, 0, 1])).all()
    flipped = torch.linalg.det(turns) < 0
    assert 150 < int(flipped.sum()) < 250
    x, y = turns[~flipped][:, 0, 0], turns[~flipped][:, 0, 1]  # where (1, 0) comes to
    angles = torch.atan2(y, x)
    assert torch.histc(angles, 4, -torch.pi, torch.pi).min() > 25
    assert torch.equal(draw_turn(rotation=False, flip=False), torch.eye(3))
    quarter = torch.tensor([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    torch.testing.assert_close(torch.tensor([[1.0, 2, 3]]) @ quarter, torch.tensor([[-2.0, 1, 3]]))


def test_a_training_sample_turns_points_and_queries_together() -> None:
    points, intensities = sweep()
    made = pretext_sweep(points, intensities, 600, 1000, 0.1, generator=torch.Generator().manual_seed(2))
    again = pretext_sweep(points, intensities, 600, 1000, 0.1, generator=torch.Generator().manual_seed(2))
    assert all(torch.equal(a, b) for a, b in zip((*made[:2], *made.queries), (*again[:2], *again.queries), strict=True))
    assert made.points.shape == (1000, 3)
    still = pretext_sweep(points, intensities, 600, 1000, 0.1, rotation=False, flip=False,
                          generator=torch.Generator().manual_seed(2))  # fmt: skip
    turn = torch.linalg.lstsq(still.points, made.points).solution
    torch.testing.assert_close(still.queries.points @ turn, made.queries.points, rtol=1e-4, atol=1e-3)
    rows = (still.points[:, None] == points).all(2).nonzero()[:, 1]
    assert torch.equal(made.intensities, intensities[rows])


def test_the_pose_takes_moved_points_back_to_the_sensor() -> None:
    """Translated by up to 15 m along x and y, then turned."""
    points, intensities = sweep()
    made = pretext_sweep(points, intensities, 60, 5000, translation=20.0, generator=torch.Generator().manual_seed(5))
    back = made.points.double() @ made.sensor_SE3_points[:3, :3].T + made.sensor_SE3_points[:3, 3]
    torch.testing.assert_close(back.float(), points, rtol=1e-4, atol=1e-3)
    shifts = torch.stack([draw_shift(20.0, torch.Generator().manual_seed(seed)) for seed in range(99)])
    assert (float(shifts[:, :2].abs().max()), float(shifts[:, 2].abs().max())) == (15.0, 0.0)
    assert torch.equal(-made.sensor_SE3_points[2, 3:].float(), torch.zeros(1))


def test_what_has_no_queries_is_named() -> None:
    points, intensities = sweep(10)
    with pytest.raises(DataError, match="empty sweep"):
        draw_queries(points[:0], intensities[:0], 100)
    with pytest.raises(UserError, match="at least 3"):
        draw_queries(points, intensities, 2)
    with pytest.raises(UserError, match="positive"):
        draw_queries(points, intensities, 30, distance=0)
