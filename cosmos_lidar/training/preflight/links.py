"""Seconds that collectives take over NVLink, PCIe and the network between nodes: bandwidth and latency (alpha-beta)."""

from __future__ import annotations

from cosmos_lidar.training.preflight.machines import Machine
from cosmos_lidar.training.preflight.traffic import Transfer

INSIDE_NODE, BETWEEN_NODES = "inside nodes", "between nodes"
_EFFICIENCY = 0.8  # of a link's bandwidth; assumed
# Latencies of a collective, and of one step of a ring over each link: NCCL's own model, protocol Simple
# (src/graph/tuning.cc: 8.4; NVLink 3.4, PCI 5.7, NET 14.0 microseconds).
_BASE_S, _NVLINK_S, _PCIE_S, _NETWORK_S = 8.4e-6, 3.4e-6, 5.7e-6, 14.0e-6


def transfer_seconds(transfer: Transfer, machine: Machine) -> tuple[float, str]:
    """Return the seconds of all messages of a transfer, and over which link they go.

    Rings are as fast as their slowest link. Between nodes, each of a group's GPUs in a node uses its own adapter; over
    PCIe, one stream in and out of every NVLink island is assumed. In an all-to-all each rank sends its share to every
    other one over the link between them.
    """
    island = _members(transfer, machine.island)
    node = _members(transfer, machine.gpus)
    link = INSIDE_NODE if node == transfer.ranks else BETWEEN_NODES
    if transfer.kind == "all_to_all":
        one = _exchange_seconds(transfer, machine, island, node)
    else:
        one = _ring_seconds(transfer, machine, island, node)
    return transfer.count * one, link


def _members(transfer: Transfer, gpus: int) -> int:
    """Ranks of a group that are in the same ``gpus`` GPUs."""
    return min(transfer.ranks, max(gpus // transfer.stride, 1))


def _ring_seconds(transfer: Transfer, machine: Machine, island: int, node: int) -> float:
    rounds = 2 if transfer.kind == "all_reduce" else 1
    speeds = [machine.nvlink_gb_s] if island > 1 else []
    if node > island:
        speeds.append(machine.pcie_gb_s)
    if transfer.ranks > node:
        speeds.append(machine.network_gb_s * node)
    nodes = -(-transfer.ranks // node)
    hop = _PCIE_S if node > island else _NVLINK_S
    latency = (transfer.ranks - nodes) * hop + (nodes - 1) * _NETWORK_S
    sent = rounds * transfer.size * (transfer.ranks - 1) / transfer.ranks
    return sent / (1e9 * min(speeds) * _EFFICIENCY) + _BASE_S + rounds * latency


def _exchange_seconds(transfer: Transfer, machine: Machine, island: int, node: int) -> float:
    peers = {
        (machine.nvlink_gb_s, _NVLINK_S): island - 1,
        (machine.pcie_gb_s, _PCIE_S): node - island,
        (machine.network_gb_s, _NETWORK_S): transfer.ranks - node,
    }
    each = transfer.size / transfer.ranks / (1e9 * _EFFICIENCY)
    there = [(count, speed, hop) for (speed, hop), count in peers.items() if count]
    return max(count * each / speed for count, speed, _ in there) + _BASE_S + max(hop for _, _, hop in there)
