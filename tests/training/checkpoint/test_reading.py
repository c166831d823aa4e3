from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint.metadata import Metadata

from cosmos_lidar.errors import DataError
from cosmos_lidar.training.checkpoint.reading import load_full, load_state, load_tensors, stored_names
from cosmos_lidar.training.checkpoint.store import CheckpointStore
from tests.training.checkpoint.saving import save


def test_a_damaged_shard_is_named_when_it_is_read(tmp_path: Path) -> None:
    path = save(CheckpointStore(tmp_path), 1)
    shard = next(path.glob("*.distcp"))
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(DataError, match=r"100 bytes instead of.*\.distcp"):
        load_full(path)
    with pytest.raises(DataError, match=r"100 bytes instead of.*\.distcp"):
        load_tensors(path, {"model.matrix": torch.zeros(9, 4)})


def test_tensors_that_do_not_fit_are_refused_before_anything_changes(tmp_path: Path) -> None:
    path = save(CheckpointStore(tmp_path), 1)
    mine = {"model.matrix": torch.zeros(9, 4), "model.new": torch.zeros(2)}
    with pytest.raises(DataError, match=r"tensor missing.*iter_000000001.*key model.new"):
        load_tensors(path, mine)
    with pytest.raises(DataError, match=r"of shape \(9, 4\).*key model.matrix.*shape \(4, 9\)"):
        load_tensors(path, {"model.matrix": torch.zeros(4, 9)})
    assert not mine["model.matrix"].any()


def test_no_code_in_a_checkpoint_is_run(tmp_path: Path) -> None:
    path = save(CheckpointStore(tmp_path), 1)

    class Evil:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "ran",))

    (path / ".metadata").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DataError, match=r"refers to pathlib.*\.metadata"):
        load_full(path)
    torch.save({"x": Evil()}, path / "state.pt")
    with pytest.raises(DataError, match="state.pt"):
        load_state(path)
    assert not (tmp_path / "ran").exists()


def changed(path: Path, change: Callable[[Metadata], None]) -> None:
    """Change the index of a checkpoint by torch's own classes."""
    index = path / ".metadata"
    metadata = pickle.loads(index.read_bytes())
    change(metadata)
    index.write_bytes(pickle.dumps(metadata))


def promise(metadata: Metadata) -> None:
    metadata.state_dict_metadata["model.matrix"].size = torch.Size([500_000, 1_000_000])


def lead_outside(metadata: Metadata) -> None:
    for info in metadata.storage_data.values():
        info.relative_path = "../../elsewhere.distcp"


def name_absolute(metadata: Metadata) -> None:
    for info in metadata.storage_data.values():
        info.relative_path = "/dev/zero"


def pack(metadata: Metadata) -> None:
    for info in metadata.storage_data.values():
        info.transform_descriptors = ["zstd"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lead_outside, "names the file '../../elsewhere.distcp'"),
        (name_absolute, "names the file '/dev/zero'"),
        (pack, "packs parts by"),
    ],
)
def test_an_index_that_leads_elsewhere_is_refused(change: Callable, problem: str, tmp_path: Path) -> None:
    path = save(CheckpointStore(tmp_path), 1)
    changed(path, change)
    for read in (load_full, lambda path: stored_names(path, "")):
        with pytest.raises(DataError, match=problem):
            read(path)


def test_an_index_that_promises_terabytes_is_refused_before_allocation(tmp_path: Path) -> None:
    path = save(CheckpointStore(tmp_path), 1)
    changed(path, promise)
    with pytest.raises(DataError, match="bytes instead of|promises|SHA-256|sha256|differs"):
        load_full(path)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02}N" + b"\x85" * 400_000 + b"Ns.",  # hashing it overflows the stack
        b"\x80\x02ctorch.distributed.checkpoint.metadata\nMetadata\n}X\x01\x00\x00\x00aK\x01sb.",  # changes the class
        b"\x80\x02ctorch\nSize\nX\x02\x00\x00\x00ab\x85R.",
        b"\x80\x02]q\x00.",
    ],
)
def test_an_index_that_is_none_is_refused(content: bytes, tmp_path: Path) -> None:
    path = save(CheckpointStore(tmp_path), 1)
    (path / ".metadata").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as an index of tensors"):
        load_full(path)
    assert not hasattr(Metadata, "a")
