"""Packages of the wheel; everything else is in setup.cfg.

``recipes`` and ``launch`` lie at the root of the source tree and install inside ``cosmos_lidar`` (their names are too
general for the top level of site-packages), which setup.cfg alone cannot say together with ``find:``.
"""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["cosmos_lidar", "cosmos_lidar.*", "energon_tasks", "energon_tasks.*"]),
        "cosmos_lidar.recipes",
        "cosmos_lidar.launch",
    ],
    package_dir={"cosmos_lidar.recipes": "recipes", "cosmos_lidar.launch": "launch"},
)
