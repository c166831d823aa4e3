from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass, field

import pytest
import torch

pytest.importorskip("megatron.energon")

from megatron.energon import edataclass  # noqa: E402

from cosmos_lidar.errors import DataError  # noqa: E402
from energon_tasks.batches import JOINED, DeviceBatch, Ragged, join_batches, map_tensors  # noqa: E402

Pair = namedtuple("Pair", ["first", "second"])


@dataclass(frozen=True)
class Inner:
    tensor: torch.Tensor
    name: str
    cache: dict = field(default_factory=dict, init=False)


@edataclass
class SomeBatch(DeviceBatch):
    images: torch.Tensor
    rays: torch.Tensor | None
    inner: Inner
    by_camera: dict[str, torch.Tensor]
    points: Ragged
    boxes: list[torch.Tensor]
    pair: Pair
    clip_ids: list[str]


def some_batch() -> SomeBatch:
    return SomeBatch(
        __key__=["a", "b"],
        __restore_key__=(("x", 1), ("x", 2)),
        images=torch.arange(6.0).reshape(2, 3),
        rays=None,
        inner=Inner(torch.ones(2), "inner"),
        by_camera={"front": torch.zeros(2, 4)},
        points=Ragged.from_list([torch.rand(5, 3), torch.rand(0, 3)]),
        boxes=[torch.rand(1, 7), torch.rand(4, 7)],
        pair=Pair(torch.rand(2), "no tensor"),
        clip_ids=["a", "b"],
    )


def test_every_tensor_moves_and_nothing_else() -> None:
    batch = some_batch()
    moved = batch.to("meta")
    tensors = [moved.images, moved.inner.tensor, moved.by_camera["front"], moved.points.values, moved.points.offsets,
               *moved.boxes, moved.pair.first]  # fmt: skip
    assert [tensor.device.type for tensor in tensors] == ["meta"] * 8
    assert type(moved) is SomeBatch
    assert type(moved.pair) is Pair
    assert type(moved.points) is Ragged
    assert (moved.rays, moved.inner.name, moved.pair.second) == (None, "inner", "no tensor")
    assert moved.clip_ids is batch.clip_ids
    assert moved.__key__ is batch.__key__
    assert moved.__restore_key__ is batch.__restore_key__
    assert batch.images.device.type == "cpu"  # the batch itself is as before
    assert batch.points.values.device.type == "cpu"


def test_a_batch_that_is_there_is_not_copied() -> None:
    batch = some_batch()
    assert batch.to("cpu") is batch
    assert batch.to(torch.device("cpu"), non_blocking=True).points is batch.points


def test_copies_wait_where_values_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []
    real = torch.Tensor.to
    monkeypatch.setattr(
        torch.Tensor, "to", lambda self, *args, **kw: waits.append(kw["non_blocking"]) or real(self, *args, **kw)
    )
    some_batch().to("cpu")
    assert set(waits) == {False}
    waits.clear()
    some_batch().to("meta")
    assert set(waits) == {True}


def test_lightning_moves_it_by_its_own_method() -> None:
    from lightning.fabric.utilities.apply_func import move_data_to_device

    moved = move_data_to_device(some_batch(), torch.device("meta"))
    assert isinstance(moved, SomeBatch)
    assert moved.points.values.is_meta


def test_ragged_holds_samples_of_any_length() -> None:
    parts = [torch.arange(6.0).reshape(2, 3), torch.empty(0, 3), torch.arange(9.0).reshape(3, 3) + 10]
    ragged = Ragged.from_list(parts)
    assert len(ragged) == 3
    assert ragged.lengths.tolist() == [2, 0, 3]
    assert ragged.batch_index.tolist() == [0, 0, 2, 2, 2]
    assert all(torch.equal(mine, part) for mine, part in zip(ragged, parts, strict=True))
    assert torch.equal(ragged[-1], parts[2])
    with pytest.raises(IndexError):
        ragged[3]


@pytest.mark.parametrize("parts", [[], [torch.zeros(2, 3), torch.zeros(2, 4)], [torch.zeros(2), torch.zeros(2).long()]])
def test_ragged_refuses_what_it_cannot_concatenate(parts: list[torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="expected tensors that differ in their first size only"):
        Ragged.from_list(parts)


def test_what_holds_no_tensor_is_not_copied() -> None:
    value = {"a": [1, (2, "x")], "b": Inner}
    assert map_tensors(value, torch.neg) is value


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_pinned_batches_arrive_on_the_gpu() -> None:
    batch = some_batch()
    moved = batch.pin_memory().to("cuda")
    assert moved.boxes[1].is_cuda
    assert torch.equal(moved.to("cpu").images, batch.images)


def test_joined_batches_hold_all_samples_in_order() -> None:
    first, second = some_batch(), some_batch()
    second.images = second.images + 100
    joined = join_batches([first, second])
    assert joined.__key__ == ["a", "b", "a", "b"]
    assert joined.__restore_key__ == (JOINED, first.__restore_key__, second.__restore_key__)
    assert torch.equal(joined.images, torch.cat([first.images, second.images]))
    assert joined.rays is None
    assert joined.inner.tensor.tolist() == [1.0] * 4
    assert joined.inner.name == "inner"
    assert joined.by_camera["front"].shape == (4, 4)
    assert joined.points.lengths.tolist() == [*first.points.lengths.tolist(), *second.points.lengths.tolist()]
    assert len(joined.boxes) == 2 * len(first.boxes)
    assert joined.pair.first.shape[0] == 2 * first.pair.first.shape[0]
    assert first.images.shape == (2, 3)
    second.rays = torch.zeros(2, 1)
    with pytest.raises(DataError, match=r"part missing in some samples of a batch \[key rays\]"):
        join_batches([first, second])
