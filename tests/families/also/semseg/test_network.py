"""Network of segmentation: scores of points, linear probing."""

from __future__ import annotations

import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.families.also.semseg.network import SegmentationNetwork
from cosmos_lidar.models.sparse import build_backbone


def inputs(clouds: int = 1) -> dict:
    coords = torch.stack(torch.meshgrid(*[torch.arange(0, 40, 4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    voxels = torch.nn.functional.pad(coords, (1, 0))
    return {"voxels": voxels, "feats": torch.rand(len(voxels), 1), "voxel_of_point": torch.arange(len(voxels)),
            "clouds": clouds}  # fmt: skip


def test_points_have_the_scores_of_their_voxels():
    torch.manual_seed(0)
    network = SegmentationNetwork(build_backbone("minkunet18", 1, 5, width=8)).eval()
    given = inputs()
    scores = network(**given)
    assert float(scores.std(0).min()) > 0
    rows = torch.tensor([3, 3, 999])
    assert torch.equal(network(**given | {"voxel_of_point": rows}), scores[rows])
    assert scores.shape == (1000, 5)


def test_a_second_cloud_may_be_empty():
    network = SegmentationNetwork(build_backbone("minkunet18", 1, 5, width=8))
    assert network(**inputs(clouds=2)).shape == (1000, 5)
    none = {name: value[:0] if torch.is_tensor(value) else value for name, value in inputs(2).items()}
    with pytest.raises(DataError):
        network(**none)


def test_linear_probing_changes_the_last_layer_alone():
    network = SegmentationNetwork(build_backbone("minkunet18", 1, 5, width=8), linear_probing=True)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=1.0)
    network.train()(**inputs()).square().sum().backward()
    optimizer.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"backbone.classifier.0.weight", "backbone.classifier.0.bias"}
