from __future__ import annotations

import pytest
import torch
from torch import nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.wan_vae.memory import StreamMemory


def frames(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, 1, -1, 1, 1)


def test_the_last_frames_of_each_layer_come_back():
    memory, one, other = StreamMemory(), nn.Identity(), nn.Identity()
    with memory.chunk() as chunk:
        assert not chunk.begun
        assert chunk.extend(one, frames(1), 2).flatten().tolist() == [0, 0, 1]
        assert chunk.extend(other, frames(5, 6, 7), 1, fill=False).flatten().tolist() == [5, 6, 7]
    assert memory.begun
    assert memory.nbytes == 4 * (2 + 1)  # two frames of one layer, one of the other
    with memory.chunk() as chunk:
        assert chunk.extend(one, frames(2), 2).flatten().tolist() == [0, 1, 2]
        assert chunk.extend(other, frames(8), 1, fill=False).flatten().tolist() == [7, 8]
    with memory.chunk() as chunk:
        assert chunk.extend(one, frames(3, 4, 5), 2).flatten().tolist() == [1, 2, 3, 4, 5]


def test_a_layer_that_was_left_out_of_a_chunk_starts_with_zeros():
    memory, layer = StreamMemory(), nn.Identity()
    with memory.chunk():
        pass
    with memory.chunk() as chunk:
        assert chunk.extend(layer, frames(1), 2).flatten().tolist() == [0, 0, 1]


def test_nothing_is_kept_of_a_single_chunk():
    memory = StreamMemory(keep=False)
    with memory.chunk() as chunk:
        chunk.extend(nn.Identity(), frames(1, 2, 3), 2)
    assert memory.nbytes == 0


def test_a_chunk_that_fails_ends_its_video():
    memory = StreamMemory()
    with pytest.raises(ZeroDivisionError), memory.chunk():
        raise ZeroDivisionError
    with pytest.raises(UserError, match="an earlier chunk of this video failed"), memory.chunk():
        pass
