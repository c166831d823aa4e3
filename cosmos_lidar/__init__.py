"""Sensor world models for autonomous driving: tokenizers, diffusion, self-supervision.

Importing the package is fast: torch, NeMo and Energon are imported by the modules that use them.
"""

from cosmos_lidar import _checkout as _checkout
from cosmos_lidar import _moved as _moved

__version__ = "0.1.0"
