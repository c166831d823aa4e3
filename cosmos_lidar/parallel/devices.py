"""Choice of the device (CPU, CUDA) that a program computes on."""

from __future__ import annotations

import torch

from cosmos_lidar.errors import UserError


def choose_device(name: str = "auto") -> torch.device:
    """Return the torch device of a name; ``auto`` is CUDA if available, else the CPU.

    Raises:
        UserError: the name is not a device, or the device is not available.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"--device {name}: not a device; valid: cpu, cuda, cuda:1, auto") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {name}: {torch.cuda.device_count()} CUDA devices found; valid: cpu, auto")
    return device
