"""The sparse backbone whose features a Frechet distance is of: its options, and the backbone itself."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_lidar.commands._arguments import add_flag, configuration_of, weights_file

if TYPE_CHECKING:
    import torch

    from cosmos_lidar.families.also.config import AlsoTrainConfig
    from cosmos_lidar.metrics.backbone_features import BackboneFeatures
    from cosmos_lidar.models.sparse.backbone import Backbone


def add_feature_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a backbone."""
    add_flag(
        parser,
        "feature_checkpoint",
        type=weights_file("small-backbone"),
        metavar="FILE",
        help="sparse backbone (iter_N_backbone.safetensors, pretrained_backbone_also_*.ckpt): adds the Frechet "
        "distance of its features of recorded and made point clouds",
    )
    add_flag(
        parser,
        "feature_recipe",
        metavar="NAME",
        help="variant of also_pretrain with its voxels and inputs (default: config.yaml beside the checkpoint)",
    )


def features_of(args: argparse.Namespace, device: torch.device) -> BackboneFeatures | None:
    """Return the features of ``--feature_checkpoint``; None without it.

    Args:
        args: parsed options.
        device: to compute on.

    Raises:
        DataError: another backbone, or of other inputs, than the configuration has.
        UserError: no configuration, or an unknown recipe.
    """
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.latents.cache import weights_hash
    from cosmos_lidar.metrics.backbone_features import BackboneFeatures

    if args.feature_checkpoint is None:
        if args.feature_recipe:
            raise UserError("--feature_recipe needs --feature_checkpoint, the backbone that it describes")
        return None
    network, run = open_features(args.feature_checkpoint, args.feature_recipe, "--feature_recipe", device)
    return BackboneFeatures(network, run.model.voxel_input, weights_hash(network))


def open_features(
    checkpoint: Path, recipe: str | None, option: str, device: torch.device
) -> tuple[Backbone, AlsoTrainConfig]:
    """Return a backbone without its last layer, in evaluation, and the configuration that it was pre-trained with.

    Args:
        checkpoint: file of weights.
        recipe: variant of also_pretrain; None for ``config.yaml`` beside the file.
        option: that names a recipe, for messages.
        device: to compute on.

    Raises:
        DataError: another backbone, or of other inputs, than the configuration has.
        UserError: no configuration, or an unknown recipe.
    """
    from cosmos_lidar.models.sparse import load_backbone
    from cosmos_lidar.models.sparse.second import KITTI_GRID

    run = _configuration(checkpoint, recipe, option)
    model = run.model
    grid = model.grid if model.on_grid else KITTI_GRID
    network = load_backbone(checkpoint, model.name, model.channels, out_channels=0, grid=grid)
    return network.to(device).eval(), run


def print_feature_problems(features: BackboneFeatures | None, sweeps: int) -> None:
    """Print why there is no distance, or how many clouds had no features.

    Args:
        features: of :func:`features_of`.
        sweeps: that were compared.
    """
    from cosmos_lidar.metrics.backbone_features import COLUMN

    if features is None:
        return
    if sweeps < 2:
        sys.stdout.write(f"no {COLUMN}: {sweeps} sweeps, at least 2 are needed\n")
    if features.empty:
        sys.stdout.write(f"{features.empty} of {2 * sweeps} point clouds without points: features of zeros\n")


def _configuration(checkpoint: Path, recipe: str | None, option: str) -> AlsoTrainConfig:
    """Return the configuration of a recipe, or that beside a checkpoint."""
    from cosmos_lidar.families.also.config import PUBLISHED_KEYS, AlsoTrainConfig

    return configuration_of(checkpoint, recipe, option, "also_pretrain", AlsoTrainConfig, PUBLISHED_KEYS)
