"""A sparse backbone in evaluate: its column and protocol; and backbones that do not fit."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cosmos_lidar.cli import main
from cosmos_lidar.commands._feature_arguments import features_of
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.metrics.backbone_features import COLUMN
from cosmos_lidar.models.sparse import build_backbone
from cosmos_lidar.models.sparse.export import write_backbone

CONFIG = "family: also_pretrain\nmodel:\n  backbone: MinkUNet18\n  width: 2\n  inputs: [pos]\n  voxel_size: 2.0\n"


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small backbone with its configuration beside it."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("backbone") / "iter_000000001_backbone.safetensors"
    write_backbone(build_backbone("minkunet18", 3, 0, width=2), path, "segmentation")
    path.with_name("config.yaml").write_text(CONFIG)
    return path


def evaluated(release: Path, output: Path, *options: str | Path) -> dict:
    command = ["evaluate", "--data", str(release), "--chamfer", "0", "--max_frames", "2", "--output", str(output)]
    assert main([*command, *map(str, options)]) == 0
    return json.loads(output.read_text())


def test_evaluate_has_the_distance_beside_its_own_numbers(release: Path, backbone: Path, tmp_path: Path, capsys):
    output, found = tmp_path / "results.json", {}
    for baseline in ("identity", "resize"):
        found[baseline] = evaluated(release, output, "--baseline", baseline, "--feature_checkpoint", backbone)
    assert "Frechet," in capsys.readouterr().out
    assert found["identity"]["pooled"][COLUMN] < 1e-3 * found["resize"]["pooled"][COLUMN]
    assert found["resize"]["pooled"]["chamfer"] is None
    assert all(clip[COLUMN] > 0 for clip in found["resize"]["clips"].values())
    protocol = found["resize"]["protocol"]
    assert protocol["others"][COLUMN]["settings"]["features"].startswith("minkunet18, mean over voxels of 2 m, of pos")
    plain = evaluated(release, output, "--baseline", "resize")
    assert plain["protocol"]["hash"] == protocol["hash"]
    assert COLUMN not in plain["pooled"]
    options = ("--baseline", "resize", "--feature-checkpoint", backbone, "--max_clips", "1", "--max_frames", "1")
    assert evaluated(release, output, *options)["pooled"][COLUMN] is None
    assert f"no {COLUMN}: 1 sweeps, at least 2 are needed" in capsys.readouterr().out


def test_backbones_that_do_not_fit_are_refused(backbone: Path, tmp_path: Path):
    def features(checkpoint: Path | None, recipe: str | None = None) -> object:
        args = argparse.Namespace(feature_checkpoint=checkpoint, feature_recipe=recipe)
        return features_of(args, torch.device("cpu"))

    assert features(None) is None
    assert features(backbone)([np.ones((5, 3))]).shape == (1, 6)
    with pytest.raises(DataError, match="minkunet18 with 3 input channels .*Expected: backbone minkunet34"):
        features(backbone, "nuscenes")
    with pytest.raises(DataError, match="minkunet18 with 3 input channels .*Expected: in_channels 4"):
        features(backbone, "bevcontrast_semantickitti")
    with pytest.raises(UserError, match="--feature_recipe nusc: valid: .*nuscenes"):
        features(backbone, "nusc")
    with pytest.raises(UserError, match="--feature_recipe needs --feature_checkpoint"):
        features(None, "nuscenes")
    alone = tmp_path / "backbone.safetensors"
    alone.write_bytes(backbone.read_bytes())
    with pytest.raises(UserError, match="config.yaml is not there: give --feature_recipe"):
        features(alone)
    (tmp_path / "config.yaml").write_text("family: lidar_tokenizer\nmodel:\n  name: CI8x8\n")
    with pytest.raises(DataError, match="options of lidar_tokenizer .*Expected: those of a run of also_pretrain"):
        features(alone)
