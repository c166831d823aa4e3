"""Diffusion transformers (DiT) on one device; parallelism is applied by ``cosmos_lidar.parallel``."""

from cosmos_lidar.models.dit.build import DiT, build_dit, find_shape, shape_names
from cosmos_lidar.models.dit.config import SHAPES, DiTConfig
from cosmos_lidar.models.dit.network import GeneralDiT
from cosmos_lidar.models.dit.predict2 import Predict2Config, Predict2DiT

__all__ = [
    "SHAPES",
    "DiT",
    "DiTConfig",
    "GeneralDiT",
    "Predict2Config",
    "Predict2DiT",
    "build_dit",
    "find_shape",
    "shape_names",
]
