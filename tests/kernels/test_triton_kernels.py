"""Every Triton kernel compiles to machine code of three GPUs without spills; no GPU is needed for that."""

from __future__ import annotations

import importlib
import inspect
import os
from pathlib import Path
from types import ModuleType

import pytest
import torch

pytest.importorskip("triton", reason="triton is not installed")
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("the interpreter compiles nothing", allow_module_level=True)

from triton.runtime import JITFunction

from cosmos_lidar.kernels import triton_kernels

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
KERNELS = [
    name for name, value in vars(triton_kernels).items() if isinstance(value, JITFunction) and not name.startswith("_")
]


@pytest.fixture
def resources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    return importlib.import_module("triton_resources")


def check(resources: ModuleType, channels: list[int], dtype: torch.dtype, capability: int) -> None:
    for launch in resources.launches(channels, dtype):
        found = resources.compile_launch(launch, capability)
        where = f"{launch.name}, {launch.channels} channels, sm_{capability}"
        assert f".target sm_{capability}" in found.ptx, where
        assert found.code.startswith(b"\x7fELF"), where
        assert found.spilled == 0, f"{where}: {found.spilled} bytes do not fit into {found.registers} registers"
        assert 512 <= found.threads <= 2048, f"{where}: {found.registers} registers leave {found.threads} threads"
        assert found.shared <= 48 * 1024, where


@pytest.mark.parametrize("capability", [80, 90, 100])
def test_the_published_width_fits_into_registers(resources: ModuleType, capability: int) -> None:
    check(resources, [2048], torch.bfloat16, capability)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("capability", [80, 90, 100])
def test_wider_networks_and_other_types(resources: ModuleType, capability: int, dtype: torch.dtype) -> None:
    check(resources, [4096, 5120], dtype, capability)


def test_every_kernel_is_launched_in_each_of_its_ways(resources: ModuleType) -> None:
    """The launches are those that the operations make: none is left out, each has all arguments."""
    launches = resources.launches([2048], torch.bfloat16)
    assert {launch.kernel for launch in launches} == set(KERNELS) == set(resources.KERNELS)
    flags = {name: "MODULATED" if "modulated" in name else "NORMED" for name in KERNELS if "rms" not in name}
    for name, flag in flags.items():
        assert {one.arguments[flag] for one in launches if one.kernel == name} == {True, False}
    for launch in launches:
        assert list(launch.arguments) == list(inspect.signature(getattr(triton_kernels, launch.kernel).fn).parameters)


def test_spills_are_found(resources: ModuleType) -> None:
    """A kernel whose tile is eight times as large does not fit: the check above can fail."""
    (launch,) = [one for one in resources.launches([2048], torch.bfloat16) if one.name.endswith("backward normed")]
    launch.arguments["ROWS"] *= 8
    assert resources.compile_launch(launch, 90).spilled > 0
