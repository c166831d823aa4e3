"""Files of torch.save, looked at before torch reads them."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from cosmos_lidar.errors import DataError
from cosmos_lidar.files import read_tensors
from cosmos_lidar.torch_files import check_torch_file

TENSORS = {
    "weight": torch.arange(6.0).reshape(2, 3),
    "view": torch.arange(10)[2:8:2],
    "turned": torch.arange(6.0).reshape(2, 3).t(),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "eighth": torch.ones(3).to(torch.float8_e4m3fn),
    "expanded": torch.ones(1).expand(4),
    "none": torch.zeros(0, 3),
    "scalar": torch.tensor(2.0),
    "parameter": nn.Parameter(torch.ones(2)),
}
STATE = {
    "model": nn.Linear(3, 4).state_dict() | TENSORS,
    "optimizer": torch.optim.AdamW(nn.Linear(2, 2).parameters()).state_dict(),
    "size": torch.Size([1, 2]),
    "device": torch.device("cpu"),
    "dtype": torch.float16,
    "step": 3,
    (1, "a"): b"\x00",
}


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before 1.6"])
def test_what_training_writes_is_read(new: bool, tmp_path: Path) -> None:
    state = {**STATE, "model": {k: v for k, v in STATE["model"].items() if new or k != "eighth"}}  # torch cannot
    torch.save(state, tmp_path / "x.pt", _use_new_zipfile_serialization=new)
    found = read_tensors(tmp_path / "x.pt", "weights")
    assert list(found) == list(STATE)
    for name, tensor in state["model"].items():
        assert torch.equal(found["model"][name].float(), tensor.float()), name


def with_pickle(folder: Path, content: bytes, method: int = zipfile.ZIP_STORED) -> Path:
    """Write a file of torch.save whose pickle is another one."""
    torch.save({"a": torch.ones(4)}, folder / "whole.pt")
    with zipfile.ZipFile(folder / "whole.pt") as old, zipfile.ZipFile(folder / "x.pt", "w", method) as new:
        for name in old.namelist():
            new.writestr(name, content if name.endswith("data.pkl") else old.read(name))
    return folder / "x.pt"


STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu%btQ"
TENSOR = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(%bK\x00%b%b\x89}tR."


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\x80\x02}N" + b"\x85" * 400_000 + b"Ns.", "uses a tuple as a key"),  # torch 2.13 itself ends with SIGSEGV
        (b"\x80\x02" + STORAGE % b"\x8a\x05\x00\x00\x00\x00\x40" + b".", "promises 1.1 TB in data/0, which has 16 B"),
        (TENSOR % (STORAGE % b"K\x04", b"K\x05\x85", b"K\x01\x85"), "of size (5,) by 4 numbers"),
        (TENSOR % (STORAGE % b"K\x04", b"\x8a\x05\x00\x00\x00\x00\x40\x85", b"K\x00\x85"), "repeats 4 numbers"),
        (TENSOR % (b"K\x04", b"K\x04\x85", b"K\x01\x85"), "something else than storage"),
        (b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.", "refers to os.system"),
        (b"\x80\x02ctorch._utils\n_rebuild_sparse_tensor\n(NNtR.", "refers to torch._utils._rebuild_sparse_tensor"),
    ],
)
def test_what_does_not_add_up_is_refused_before_torch_sees_it(
    content: bytes, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_pickle(tmp_path, content)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch reads it"))
    with pytest.raises(DataError) as found:
        read_tensors(path, "weights")
    assert problem in str(found.value)


def test_an_old_file_that_promises_more_than_it_has(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(4)}, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    content = (tmp_path / "x.pt").read_bytes()
    at = content.index(b"cpu") + 3
    at = content.index(b"K\x04N", at)
    (tmp_path / "x.pt").write_bytes(content[:at] + b"\x8a\x05\x00\x00\x00\x00\x40" + content[at + 2 :])
    with pytest.raises(pickle.UnpicklingError, match=r"promises 1\.1 TB, the file has \d+ B"):
        check_torch_file(tmp_path / "x.pt")


def test_an_archive_that_unpacks_to_much_more(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("x/data/0", "w", force_zip64=True) as member:
            for _ in range(80):
                member.write(bytes(1 << 24))
    with pytest.raises(DataError, match=r"unpack to would take 1\.3 GB"):
        check_torch_file(tmp_path / "x.pt")


def test_a_tar_of_the_first_torch_is_refused(tmp_path: Path) -> None:
    import tarfile

    with tarfile.open(tmp_path / "x.pt", "w") as tar:
        tar.addfile(tarfile.TarInfo("storages"))
    with pytest.raises(DataError, match="a tar: written by torch before"):
        read_tensors(tmp_path / "x.pt", "weights")


class _MadeOfItems(dict):
    """Pickles as torch before 1.6 and Python 2 did: OrderedDict([[name, tensor], ...])."""

    def __init__(self, items: object) -> None:
        self.items_given = items

    def __reduce__(self) -> tuple:
        return OrderedDict, (self.items_given,)


def test_a_mapping_made_of_its_items_is_read(tmp_path: Path) -> None:
    weight = torch.arange(3.0)
    torch.save(_MadeOfItems([["lin0.model.1.weight", weight]]), tmp_path / "a.pth")
    assert torch.equal(read_tensors(tmp_path / "a.pth", "weights")["lin0.model.1.weight"], weight)
    for wrong in ([["a", weight, 1]], [[("a", "b"), weight]]):
        torch.save(_MadeOfItems(wrong), tmp_path / "b.pth")
        with pytest.raises(DataError, match="an OrderedDict"):
            read_tensors(tmp_path / "b.pth", "weights")
