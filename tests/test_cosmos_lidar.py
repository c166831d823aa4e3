import subprocess
import sys

import pytest

HEAVY = {"torch", "nemo", "lightning", "megatron", "av", "scipy"}


@pytest.mark.parametrize(
    "statement",
    ["import cosmos_lidar", "import cosmos_lidar.sensors", "from cosmos_lidar.cli import build_parser; build_parser()"],
)
def test_starting_imports_nothing_heavy(statement):
    code = f"{statement}; import sys; print(*sorted(set(sys.modules) & {HEAVY}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
