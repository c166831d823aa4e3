from __future__ import annotations

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.training.preflight.machines import MACHINES, find_machine


def test_an_unknown_name_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(UserError, match="h300: unknown; valid: h100-sxm, h100-nvl, h200, b200"):
        find_machine("h300")


def test_fp8_has_twice_the_products() -> None:
    assert find_machine("h200").peak_flops("fp8") == 2 * find_machine("h200").peak_flops("bf16") == 1978.8e12


def test_facts_are_possible() -> None:
    for name, machine in MACHINES.items():
        assert machine.name == name
        assert machine.fp32_tflops < machine.bf16_tflops
        assert machine.gpus % machine.island == 0
        assert (machine.pcie_gb_s > 0) == (machine.island < machine.gpus)
        assert machine.network_gb_s < machine.nvlink_gb_s < machine.memory_gb_s
