"""The processor of this machine, and the resident memory of this process; of benchmarks with and without torch."""

from __future__ import annotations

import ctypes
import math
import platform
from pathlib import Path


def processor() -> str:
    """Return the name of the processor; that of its architecture where the system has no better one."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def forget_resident_peak() -> float:
    """Return freed memory to Linux and reset the peak of this process; returns MiB in use, NaN elsewhere."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # else what building the network freed would be used unseen
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except (OSError, AttributeError):
        return math.nan
    return resident_peak_mib()


def resident_peak_mib() -> float:
    """Return the peak resident memory of this process in MiB, NaN if the system has no such number."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), math.nan)
