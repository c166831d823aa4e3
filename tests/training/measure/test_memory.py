from __future__ import annotations

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from cosmos_lidar.training.measure.memory import PeakMemory, give_memory_back


def test_storages_are_counted_once_and_forgotten_when_they_are_freed() -> None:
    memory = PeakMemory()
    kept = torch.zeros(100)  # 400 bytes
    memory.add([kept, {"view": kept[:10]}])
    assert (memory.now, memory.peak) == (400, 400)
    with memory.watching():
        a = torch.zeros(1000)
        b = a + 1  # 8000 bytes together
        assert memory.now == 8400
        view = b[:5]
        del a, b
        assert memory.now == 4400  # the view holds its storage
        del view
        assert memory.now == 400
    assert memory.peak == 8400


def test_storages_that_change_their_size() -> None:
    memory = PeakMemory()
    with memory.watching():
        tensor = torch.zeros(100)
        tensor.untyped_storage().resize_(0)
        assert memory.now == 0
        tensor.untyped_storage().resize_(1200)
        assert memory.now == 1200
    resize = torch.UntypedStorage.resize_
    assert resize.__name__ == "resize_"


def test_fake_tensors_count_like_real_ones() -> None:
    def work() -> torch.Tensor:
        x = torch.ones(64, 64, requires_grad=True)
        return (x @ x).relu().sum()

    peaks = []
    for fake in (True, False):
        memory = PeakMemory()
        if fake:
            with FakeTensorMode(), memory.watching():
                work().backward()
        else:
            with memory.watching():
                work().backward()
        peaks.append(memory.peak)
    assert peaks[0] == peaks[1] >= 3 * 64 * 64 * 4


def test_giving_memory_back_leaves_tensors_alone() -> None:
    tensor = torch.arange(1 << 20)
    give_memory_back()
    assert int(tensor.sum()) == (1 << 20) * ((1 << 20) - 1) // 2
