from __future__ import annotations

from dataclasses import replace

import pytest

from cosmos_lidar.training.preflight.links import BETWEEN_NODES, INSIDE_NODE, transfer_seconds
from cosmos_lidar.training.preflight.machines import MACHINES
from cosmos_lidar.training.preflight.traffic import Transfer

GATHER = Transfer("data_shard", "all_gather", 8, 1, 8e9, 1, True)


def test_a_gather_over_nvlink_by_hand() -> None:
    seconds, link = transfer_seconds(GATHER, MACHINES["h200"])
    assert link == INSIDE_NODE
    assert seconds == pytest.approx(7e9 / (450e9 * 0.8) + 8.4e-6 + 7 * 3.4e-6)
    reduced, _ = transfer_seconds(replace(GATHER, kind="all_reduce", count=3), MACHINES["h200"])
    assert reduced == pytest.approx(3 * (14e9 / (450e9 * 0.8) + 8.4e-6 + 14 * 3.4e-6))


def test_between_nodes_every_adapter_of_the_group_is_used() -> None:
    wide = replace(GATHER, ranks=16)
    seconds, link = transfer_seconds(wide, MACHINES["h200"])
    assert link == BETWEEN_NODES
    assert seconds == pytest.approx(7.5e9 / (400e9 * 0.8) + 8.4e-6 + 14 * 3.4e-6 + 14e-6)  # 8 adapters of 50 GB/s
    alone, _ = transfer_seconds(replace(wide, ranks=2, stride=8), MACHINES["h200"])
    assert alone == pytest.approx(4e9 / (50e9 * 0.8) + 8.4e-6 + 14e-6)


def test_pcie_between_bridges_is_the_slowest_link() -> None:
    pair, _ = transfer_seconds(replace(GATHER, ranks=2), MACHINES["h100-nvl"])
    assert pair == pytest.approx(4e9 / (300e9 * 0.8) + 8.4e-6 + 3.4e-6)
    node, link = transfer_seconds(GATHER, MACHINES["h100-nvl"])
    assert link == INSIDE_NODE
    assert node == pytest.approx(7e9 / (64e9 * 0.8) + 8.4e-6 + 7 * 5.7e-6)


def test_an_exchange_takes_as_long_as_its_slowest_peers() -> None:
    exchange = replace(GATHER, kind="all_to_all")
    seconds, _ = transfer_seconds(exchange, MACHINES["h100-nvl"])
    assert seconds == pytest.approx(6 * 1e9 / (64e9 * 0.8) + 8.4e-6 + 5.7e-6)  # six of seven peers over PCIe
    seconds, link = transfer_seconds(replace(exchange, ranks=16), MACHINES["h200"])
    assert link == BETWEEN_NODES
    assert seconds == pytest.approx(8 * 0.5e9 / (50e9 * 0.8) + 8.4e-6 + 14e-6)
