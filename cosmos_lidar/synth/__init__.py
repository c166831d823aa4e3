"""Procedural drives: the same street seen by any lidar and any camera, with exact poses and semantic classes."""

from cosmos_lidar.synth.camera import CameraImage, render
from cosmos_lidar.synth.drive import synthesize_drive
from cosmos_lidar.synth.labels import CLASS_NAMES
from cosmos_lidar.synth.lidar import Noise, cast_sweep
from cosmos_lidar.synth.rigs import RigCamera, RigLidar, bumper_lidar, ftheta_rig, pinhole_rig, surround_rig
from cosmos_lidar.synth.town import Scene, build_scene

__all__ = [
    "CLASS_NAMES", "CameraImage", "Noise", "RigCamera", "RigLidar", "Scene", "build_scene", "bumper_lidar",
    "cast_sweep", "ftheta_rig", "pinhole_rig", "render", "surround_rig", "synthesize_drive",
]  # fmt: skip
