from __future__ import annotations

import pytest
import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.parallel.devices import choose_device


def test_auto_takes_cuda_where_it_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    for available, device in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=available: found)
        assert choose_device() == torch.device(device)
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(("name", "message"), [
    ("gpu", "--device gpu: not a device; valid: cpu, cuda"), ("cuda:7", "--device cuda:7: 2 CUDA devices found"),
])  # fmt: skip
def test_other_devices_are_refused(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match=message):
        choose_device(name)
    assert choose_device("cuda:1").index == 1
