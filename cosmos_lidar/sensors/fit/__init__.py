"""Estimate the sensor file of a spinning lidar from raw sweeps: beams, azimuth grid, direction, range limits."""

from cosmos_lidar.sensors.fit.fit import FittedSensor, fit_sensor, uniform_fit
from cosmos_lidar.sensors.fit.score import AngularErrors, angular_errors, row_differences

__all__ = ["AngularErrors", "FittedSensor", "angular_errors", "fit_sensor", "row_differences", "uniform_fit"]
