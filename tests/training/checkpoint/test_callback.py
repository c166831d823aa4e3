from pathlib import Path

import pytest
import torch

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.training.checkpoint.store import CheckpointStore
from cosmos_lidar.training.resume import find_resume


def test_which_checkpoint_is_gone_on_from(tmp_path: Path):
    assert find_resume("auto", tmp_path) is None
    store = CheckpointStore(tmp_path)
    for step in (6, 7):
        store.save(step, {"x": torch.ones(2)}, {}, {}, {})
        newest = store.wait().path
    assert find_resume("auto", tmp_path) == newest
    assert find_resume("none", tmp_path) is None
    assert find_resume(str(newest), tmp_path / "other") == newest
    with pytest.raises(UserError, match="trainer.resume=x"):
        find_resume("x", tmp_path)
    (newest / "state.pt").write_bytes(b"")
    assert find_resume("auto", tmp_path).name == "iter_000000006"
    with pytest.raises(DataError, match="iter_000000007/state.pt"):
        find_resume(str(newest), tmp_path)
