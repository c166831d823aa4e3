"""Recorded drives: one :class:`Clip` type, readers for the datasets, a writer for the published release layout."""

from cosmos_lidar.clips.clip import CameraStream, Clip, LidarStream, one_lidar_clip
from cosmos_lidar.clips.open import find_readers, open_clips
from cosmos_lidar.clips.sweep import Sweep

__all__ = ["CameraStream", "Clip", "LidarStream", "Sweep", "find_readers", "one_lidar_clip", "open_clips"]
