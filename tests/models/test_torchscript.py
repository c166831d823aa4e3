"""Weights of TorchScript archives, read without running what is in them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from cosmos_lidar.errors import DataError
from cosmos_lidar.files import read_tensors
from cosmos_lidar.models.tokenizer import load_tokenizer
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


def rewritten(source: Path, target: Path, compression: int = zipfile.ZIP_STORED, **changed: bytes) -> Path:
    """Copy an archive; ``changed`` are members that hold something else, ``data`` for data.pkl."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, changed.get(name.rpartition("/")[2].removesuffix(".pkl"), old.read(name)))
    return target


def test_compressed_archives_are_read_too(tmp_path: Path) -> None:
    module = nn.Linear(64, 64)
    torch.jit.script(module).save(str(tmp_path / "x.jit"))
    found = mapped_torchscript(rewritten(tmp_path / "x.jit", tmp_path / "y.jit", zipfile.ZIP_DEFLATED))
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        name: tensor.tolist() for name, tensor in module.state_dict().items()
    }


class WritesAFile(nn.Module):
    """A module whose code runs while ``torch.jit.load`` reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.training = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sum."""
        return x + self.weight

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        """Return what is stored."""
        return (self.weight, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        """Write a file."""
        self.weight = state[0]
        self.training = state[1]
        torch.save(state[0], "written")


@pytest.mark.parametrize("name", ["autoencoder.jit", "autoencoder.pt", "iter_000000001.pt"])
def test_code_that_runs_at_load_is_not_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.jit.script(WritesAFile()).save(str(tmp_path / name))
    torch.jit.load(str(tmp_path / name))
    assert (tmp_path / "written").exists()  # the file does what it is feared for
    (tmp_path / "written").unlink()
    with pytest.raises(DataError):
        load_tokenizer(tmp_path / name)
    with pytest.raises(DataError, match="TorchScript"):
        read_tensors(tmp_path / name, "weights")
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize(
    ("pickled", "problem"),
    [
        (b"\x80\x02}N" + b"\x85" * 200_000 + b"Ns.", "uses a tuple as a key"),  # its hash overflows the stack
        (b"\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
         b"\x8a\x05\x00\x00\x00\x00\x40tQ.", "promises 1099511627776 bytes in data/0, which has 16384"),
        (b"\x80\x02]q\x00.", "holds a list, no module"),
    ],
)  # fmt: skip
def test_archives_that_promise_too_much_are_refused(pickled: bytes, problem: str, tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(64, 64)).save(str(tmp_path / "x.jit"))
    with pytest.raises(ValueError, match=problem):
        mapped_torchscript(rewritten(tmp_path / "x.jit", tmp_path / "y.jit", data=pickled))


def test_modules_that_hold_each_other_end(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(64, 64)).save(str(tmp_path / "x.jit"))
    circle = b"\x80\x02c__torch__\nM\n)\x81q\x00}X\x01\x00\x00\x00mh\x00sb."
    with pytest.raises(ValueError, match="modules that hold each other"):
        mapped_torchscript(rewritten(tmp_path / "x.jit", tmp_path / "y.jit", data=circle))


def test_a_program_in_the_pickle_is_not_run(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "x.jit"))
    evil = b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR."
    with zipfile.ZipFile(tmp_path / "x.jit") as old, zipfile.ZipFile(tmp_path / "y.jit", "w") as new:
        for name in old.namelist():
            new.writestr(name, evil if name.endswith("data.pkl") else old.read(name))
    with pytest.raises(ValueError, match="refers to os.system"):
        mapped_torchscript(tmp_path / "y.jit")
    assert not (tmp_path / "ran").exists()
