"""Lane lines of a street: on the ground, beside the way of the vehicle, with gaps at side roads."""

from __future__ import annotations

import numpy as np

from cosmos_lidar.synth.lanes import CENTER_M, EDGE_M, JUNCTION_M, DriveLanes
from cosmos_lidar.synth.town import build_scene


def test_lines_lie_on_the_ground_at_their_places() -> None:
    terrain = build_scene(3, 2.0).terrain
    lines = DriveLanes(terrain, -50.0, 80.0)()
    assert len(lines) >= 3
    for line in lines:
        lateral = terrain.lateral(line[:, 0], line[:, 1])
        place = min((-EDGE_M, CENTER_M, EDGE_M), key=lambda wanted: abs(wanted - float(lateral.mean())))
        assert np.abs(lateral - place).max() < 0.05
        assert np.abs(line[:, 2] - terrain.height(line[:, 0], line[:, 1])).max() < 1e-6
        away = np.min([np.abs(line[:, 0] - crossing) for crossing in terrain.crossings_m], axis=0)
        assert away.min() >= JUNCTION_M + terrain.crossing_half_width_m - 1e-9
