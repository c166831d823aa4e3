from __future__ import annotations

import pytest

from cosmos_lidar.models.sparse import build_backbone


@pytest.mark.parametrize("name", ["minkunet34", "minkunet18", "minkunet18sc", "spvcnn", "second"])
def test_the_plan_names_all_modules_with_parameters_but_the_classifier(name: str) -> None:
    network = build_backbone(name, in_channels=4, out_channels=8)
    assert (network.name, network.in_channels, network.out_channels) == (name, 4, 8)
    blocks = network.parallel_plan().blocks
    assert len(set(blocks)) == len(blocks)
    outside = [key for key, _ in network.named_parameters() if not key.startswith(tuple(f"{one}." for one in blocks))]
    assert {key.split(".")[0] for key in outside} == {"classifier"}
