import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.training.checkpoint.state_tree import from_plain, random_state, set_random_state, to_plain


def test_random_numbers_survive_a_file(tmp_path: Path):
    path = tmp_path / "state.pt"
    torch.save(random_state(with_cuda=False), path)
    drawn = random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
    set_random_state(torch.load(path, weights_only=True))
    again = random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
    assert drawn == again


def test_loader_states_survive_a_file(tmp_path: Path):
    from megatron.energon.rng import SystemRngState
    from megatron.energon.savable_loader import SavableDataLoaderState
    from megatron.energon.state import FlexState

    inner = FlexState(a=(1, (2, None)), b={3: b"x"}, c=np.arange(3, dtype=np.uint32))
    state = SavableDataLoaderState(worker_states=[inner], next_worker_id=1, micro_batch_size=None)
    torch.save(to_plain([state, SystemRngState(torch=torch.ones(2), numpy=None, random=(3,))]), tmp_path / "x")
    back, rng = from_plain(torch.load(tmp_path / "x", weights_only=True))
    assert isinstance(back, SavableDataLoaderState)
    assert isinstance(back.worker_states[0], FlexState)
    assert back.worker_states[0]["a"] == (1, (2, None))
    assert back.worker_states[0]["b"] == {3: b"x"}
    assert back.worker_states[0]["c"].dtype == np.uint32
    assert rng.random == (3,)
    with pytest.raises(TypeError, match="SimpleNamespace"):
        to_plain([SimpleNamespace()])
    with pytest.raises(DataError, match="Popen"):
        from_plain({"__kind__": "Popen", "items": []})
