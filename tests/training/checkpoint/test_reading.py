from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.training.checkpoint.reading import load_full, load_state, load_tensors
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
