import numpy as np
import pytest

from cosmos_lidar.sensors import load_sensor, project_points, uniform_sensor
from cosmos_lidar.sensors.rows import bin_of, row_table


def test_rows_of_real_sweeps_are_their_rings(test_data):
    path = next((test_data / "nuscenes" / "samples" / "LIDAR_TOP").glob("*.pcd.bin"))
    sweep = np.fromfile(path, np.float32).reshape(-1, 5)
    projection = project_points(sweep[:, :3], load_sensor("nuscenes_hdl32e"))
    row, _ = np.nonzero(projection.point_index >= 0)
    chosen = sweep[projection.point_index[projection.point_index >= 0]]
    far = np.linalg.norm(chosen[:, :3], axis=1) > 4
    miss = np.abs(31 - chosen[far, 4] - row[far])
    assert (miss == 0).mean() > 0.85  # this sweep's rings rise and fall by up to a degree over a turn
    assert (miss <= 1).mean() > 0.99


@pytest.mark.parametrize("sensor", [load_sensor("pandar128"), load_sensor("kitti_hdl64e"), uniform_sensor(8, 16)])
def test_table_is_the_nearest_beam(sensor):
    """Against argmin over all beams, near every switching value as well."""
    table = row_table(sensor)
    elevations = np.asarray(sensor.row_elevations_rad)
    between = np.sin((elevations[:-1] + elevations[1:]) / 2)
    s = np.concatenate([np.random.default_rng(0).uniform(table.lowest, table.highest, 5000), between - 1e-9,
                        between + 1e-9, np.sin(elevations)])  # fmt: skip
    held = bin_of(s, table.scale, len(table.switch))
    row = table.row_above[held] + (s < table.switch[held])
    assert np.array_equal(row, np.abs(np.arcsin(s)[:, None] - elevations).argmin(1))


def test_limits_are_the_outer_beams_and_the_slack():
    sensor = load_sensor("pandar128")
    table = row_table(sensor)
    assert np.arcsin(table.highest) == pytest.approx(sensor.row_elevations_rad[0] + sensor.elevation_slack_rad)
    assert np.arcsin(table.lowest) == pytest.approx(sensor.row_elevations_rad[-1] - sensor.elevation_slack_rad)


def test_bins_cover_the_whole_range_once():
    assert bin_of(np.array([-1.0, -0.51, -0.5, 0.0, 0.999, 1.0]), 2.0, 4).tolist() == [0, 0, 1, 2, 3, 3]
