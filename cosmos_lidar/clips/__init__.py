"""Recorded drives: one :class:`Clip` type, readers for the datasets, a writer for the published release layout."""

from cosmos_lidar.clips.clip import CameraStream, Clip, Sweep
from cosmos_lidar.clips.open import find_readers, open_clips

__all__ = ["CameraStream", "Clip", "Sweep", "find_readers", "open_clips"]
