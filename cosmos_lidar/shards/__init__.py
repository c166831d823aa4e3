"""Energon shards of lidar clips: written, described and checked."""
