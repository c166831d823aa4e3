"""Files of weights are read tensor by tensor, and their memory is given back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cosmos_lidar.files import read_tensors
from cosmos_lidar.models.stored_weights import StoredWeights
from cosmos_lidar.models.torchscript import mapped_torchscript


def write(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    elif path.suffix == ".jit":
        module = nn.Module()
        for name, tensor in tensors.items():
            module.register_parameter(name, nn.Parameter(tensor))
        torch.jit.script(module).save(str(path))
    else:
        torch.save(tensors, path)


def read(path: Path) -> dict[str, torch.Tensor]:
    return mapped_torchscript(path) if path.suffix == ".jit" else read_tensors(path, "weights", mmap=True)


def mapped_bytes() -> int:
    """Resident memory of this process that belongs to files."""
    return int(Path("/proc/self/status").read_text(encoding="utf-8").partition("RssFile:")[2].split()[0]) * 1024


@pytest.mark.parametrize("name", ["x.safetensors", "x.pt", "x.jit"])
def test_a_tensor_takes_memory_until_it_is_released(name: str, tmp_path: Path) -> None:
    size = 8 << 20
    wanted = {f"w{i}": torch.randn(size // 4) for i in range(6)}
    sums = {key: float(tensor.sum(dtype=torch.float64)) for key, tensor in wanted.items()}
    write(tmp_path / name, wanted)
    del wanted
    stored = StoredWeights(read(tmp_path / name), [tmp_path / name])
    before = mapped_bytes()
    for key, total in sums.items():
        value = stored.read(key)
        assert float(value.sum(dtype=torch.float64)) == total
        assert mapped_bytes() - before < 2 * size
        stored.release(value)
    assert mapped_bytes() - before < size  # not the six of them
    value = stored.read("w3")  # released is not gone
    assert float(value.sum(dtype=torch.float64)) == sums["w3"]
    assert "w3" in stored
    assert "w6" not in stored


def test_memory_that_no_file_backs_is_left_alone(tmp_path: Path) -> None:
    own = torch.randn(1 << 20)
    total = float(own.sum(dtype=torch.float64))
    stored = StoredWeights({"own": own}, [tmp_path / "none"])
    stored.release(stored.read("own"))
    assert float(own.sum(dtype=torch.float64)) == total


def test_old_files_of_torch_save_are_read_whole(tmp_path: Path) -> None:
    torch.save({"w": torch.arange(5)}, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(read(tmp_path / "x.pt")["w"], torch.arange(5))
