"""Boxes of synthetic road users: as small as they can be, and around what the lidar sees of them."""

from __future__ import annotations

import numpy as np

from cosmos_lidar.sensors import range_map_to_points, uniform_sensor
from cosmos_lidar.synth import synthesize_drive


def test_returns_of_road_users_lie_in_their_boxes() -> None:
    clip = synthesize_drive(3, uniform_sensor(32, 360), 1, noise=None)
    sweep, middle_us = clip.read_sweep(0), int(clip.timestamps_us[0].mean())
    boxes = clip.boxes(middle_us)
    points = range_map_to_points(sweep.range_m, clip.sensor)
    numbers = sweep.instance[sweep.range_m > 0]
    motion = clip.lidar.motion(0)
    world = motion.compensated(points, None) if motion is not None else points
    world = world @ clip.world_SE3_lidar[0, 0, :3, :3].T + clip.world_SE3_lidar[0, 0, :3, 3]
    checked = 0
    for number in np.unique(numbers[numbers > 0]):
        place = boxes.tracks.index(str(number))
        box_SE3_world = np.linalg.inv(boxes.world_SE3_box[place])
        local = world[numbers == number] @ box_SE3_world[:3, :3].T + box_SE3_world[:3, 3]
        beyond = np.abs(local) - boxes.size_m[place] / 2
        assert beyond.max() < 0.6, number  # those that move go half a meter in half a sweep
        checked += 1
    assert checked > 3
    lengths = boxes.size_m[[kind == "vehicle" for kind in boxes.kinds], 0]
    assert ((lengths > 3.9) & (lengths < 9.6)).all()
    assert {"vehicle", "person"} <= set(boxes.kinds)
