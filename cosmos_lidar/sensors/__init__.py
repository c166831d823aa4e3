"""Sensor geometry: spinning lidars, cameras, range maps; no file formats. Importing it does not import torch."""

from cosmos_lidar.sensors.ftheta import FThetaCamera
from cosmos_lidar.sensors.motion import compensate_motion, decompensate_motion
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.sensors.range_image import (
    denormalise,
    normalise,
    pair_columns,
    prepare_range_map,
    restore_range_map,
)
from cosmos_lidar.sensors.range_maps import (
    Projection,
    points_to_range_map,
    project_points,
    range_map_to_points,
    ray_directions,
)
from cosmos_lidar.sensors.sensor import RangeMapFormat, Sensor, load_sensor, sensor_names, uniform_sensor
from cosmos_lidar.sensors.structured_model import model_of_sensor, sensor_of_model

__all__ = [
    "FThetaCamera",
    "PinholeCamera",
    "Projection",
    "RangeMapFormat",
    "Sensor",
    "compensate_motion",
    "decompensate_motion",
    "denormalise",
    "load_sensor",
    "model_of_sensor",
    "normalise",
    "pair_columns",
    "points_to_range_map",
    "prepare_range_map",
    "project_points",
    "range_map_to_points",
    "ray_directions",
    "restore_range_map",
    "sensor_names",
    "sensor_of_model",
    "uniform_sensor",
]
