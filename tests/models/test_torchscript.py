"""Weights of TorchScript archives, read without running what is in them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from cosmos_lidar.models.torchscript import mapped_torchscript


class Holder(nn.Module):
    """A parameter, both kinds of buffers, a plain tensor attribute, a list and a shared submodule."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(3, 4).bfloat16(), nn.BatchNorm1d(4))
        self.again = self.layer
        self.register_buffer("kept", torch.arange(6).reshape(2, 3).t())
        self.register_buffer("dropped", torch.ones(2), persistent=False)
        self.plain = torch.full((2,), 3.0)
        self.sizes = [1, 2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return something that uses all of it."""
        return self.layer[0].weight.float().sum() + self.kept.sum() + self.plain.sum() + len(self.sizes) + x


@pytest.mark.parametrize("how", ["script", "trace"])
def test_names_and_values_are_those_of_torch(how: str, tmp_path: Path) -> None:
    module = Holder().eval()
    made = torch.jit.script(module) if how == "script" else torch.jit.trace(module, torch.zeros(1))
    made.save(str(tmp_path / "x.jit"))
    wanted = torch.jit.load(str(tmp_path / "x.jit")).state_dict()
    found = mapped_torchscript(tmp_path / "x.jit")
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


def test_archives_that_cannot_be_mapped_are_refused(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(64, 64)).save(str(tmp_path / "x.jit"))
    deflated = zipfile.ZipFile(tmp_path / "y.jit", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "x.jit") as old, deflated as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(ValueError, match="compressed"):
        mapped_torchscript(tmp_path / "y.jit")


def test_a_program_in_the_pickle_is_not_run(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "x.jit"))
    evil = b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR."
    with zipfile.ZipFile(tmp_path / "x.jit") as old, zipfile.ZipFile(tmp_path / "y.jit", "w") as new:
        for name in old.namelist():
            new.writestr(name, evil if name.endswith("data.pkl") else old.read(name))
    with pytest.raises(ValueError, match="refers to os.system"):
        mapped_torchscript(tmp_path / "y.jit")
    assert not (tmp_path / "ran").exists()
