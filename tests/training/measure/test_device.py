"""The name of a device, of this machine and of systems without a list of processors."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from cosmos_lidar.training.measure import device


def test_the_processor_is_named_with_the_cores_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Big CPU 9000\n\nprocessor\t: 1\nmodel name\t: Big CPU 9000\n")
    monkeypatch.setattr(device, "_CPU_INFO", info)
    monkeypatch.setattr(device.os, "sched_getaffinity", lambda process: {0, 3}, raising=False)
    assert device.device_name(on_gpu=False) == "Big CPU 9000, 2 cores"
    monkeypatch.setattr(device, "_CPU_INFO", tmp_path / "none")
    assert device.device_name(on_gpu=False) == f"{platform.machine()}, 2 cores"


def test_a_gpu_has_the_name_of_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device.torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    assert device.device_name(on_gpu=True) == "NVIDIA H200"
