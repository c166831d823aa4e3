"""The Cosmos-Predict2 diffusion transformer (rectified flow), single-view and multi-view."""

from cosmos_lidar.models.dit.predict2.config import SHAPES, Predict2Config
from cosmos_lidar.models.dit.predict2.network import Predict2DiT

__all__ = ["SHAPES", "Predict2Config", "Predict2DiT"]
