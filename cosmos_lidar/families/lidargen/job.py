"""The training of camera-to-lidar diffusion: its network and its data, handed to the engine."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from cosmos_lidar.families.dit.export import export_weights
from cosmos_lidar.families.dit.job import load_job, make_network, open_network
from cosmos_lidar.families.lidargen.config import LidarGenTrainConfig
from cosmos_lidar.families.lidargen.model import LidarGenModel
from cosmos_lidar.families.lidargen.online_encoder import FrameLatents
from cosmos_lidar.training.engine import DataShare, Job
from cosmos_lidar.weights import file_of

__all__ = ["export_weights", "make_dry_model", "make_job"]


def make_job(run: LidarGenTrainConfig, folder: Path, share: DataShare) -> Job:
    """Return network and data of a run."""
    encode = FrameLatents(run.data.tokenizers, run.model.canvas.layout()) if run.data.tokenizers.lidar else None
    checkpoint = file_of(run.model.checkpoint, "small-lidargen")
    network, weights = open_network(replace(run, model=replace(run.model, checkpoint=checkpoint)))
    model = LidarGenModel(run, network, folder, encode)
    model.weights = weights
    loader = None if encode is None else partial(_open_frames, encode.lidar_step)
    return load_job(run, model, folder, share, loader)


def _open_frames(step: int, path: str | Path, split: str, **options: Any) -> Any:
    from energon_tasks.views import views_loader

    return views_loader(path, split, step=step, **options)


def make_dry_model(run: LidarGenTrainConfig) -> LidarGenModel:
    """Return the model with random weights on the current default device; the data is not looked at."""
    network = make_network(replace(run, model=replace(run.model, checkpoint="")))
    return LidarGenModel(run, network, Path())
