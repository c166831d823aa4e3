"""Diffusion transformers (DiT) on one device; parallelism is applied by ``cosmos_lidar.parallel``."""

from cosmos_lidar.models.dit.config import SHAPES, DiTConfig
from cosmos_lidar.models.dit.network import GeneralDiT, build_dit

__all__ = ["SHAPES", "DiTConfig", "GeneralDiT", "build_dit"]
