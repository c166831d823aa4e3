"""Diffusion transformers: one network on one device; sharding is applied from outside."""

from cosmos_lidar.models.dit.config import SHAPES, DiTConfig
from cosmos_lidar.models.dit.network import GeneralDiT, build_dit

__all__ = ["SHAPES", "DiTConfig", "GeneralDiT", "build_dit"]
