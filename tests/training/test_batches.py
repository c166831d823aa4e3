from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import torch

from cosmos_lidar.training.batches import ExampleBatch, batch_content, clips_of, sample_count


@dataclass
class Inner:
    points: torch.Tensor


@dataclass
class Batch:
    images: torch.Tensor
    inner: Inner
    clip_ids: list[str]
    more: dict[int, object] = field(default_factory=dict)


def test_example_batches_move_and_are_counted() -> None:
    batch = ExampleBatch(3, x=torch.zeros(3, 2), nothing=None, parts=[torch.zeros(1)])
    assert sample_count(batch) == 3
    moved = batch.to(torch.device("meta"))
    assert moved.x.is_meta
    assert moved.parts[0].is_meta
    assert (moved.nothing, sample_count(moved), batch.x.is_meta) == (None, 3, False)


def test_clips_of_several_batches_are_named_once() -> None:
    batches = [SimpleNamespace(clip_ids=["b", "a", "b"]), SimpleNamespace(), SimpleNamespace(clip_ids=["c", "a"])]
    assert clips_of(batches) == ["b", "a", "c"]


def test_content_is_plain() -> None:
    content = batch_content(Batch(torch.ones(2), Inner(torch.zeros(1)), ["a"], {1: Path("x")}))
    assert content["images"].tolist() == [1, 1]
    assert content["inner"]["points"].tolist() == [0]
    assert (content["clip_ids"], content["more"]) == (["a"], {"1": repr(Path("x"))})
    assert batch_content(torch.ones(1))["batch"].tolist() == [1]
