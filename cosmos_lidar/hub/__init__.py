"""Pretrained models of every family: by name, from folders and the Hugging Face Hub; and folders for it."""

from cosmos_lidar.hub.pretrained import from_pretrained

__all__ = ["from_pretrained"]
