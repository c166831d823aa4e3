"""Generation of many clips: shared by ranks, one odd clip, a record of the weights, and interruptions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cosmos_lidar.errors import DataError
from cosmos_lidar.families.multiview.config import MultiviewDataConfig
from cosmos_lidar.families.multiview.generate import ViewOutput, generate_views, weights_record
from cosmos_lidar.families.multiview.generator import ViewSampling
from cosmos_lidar.families.multiview.inputs import ViewInput
from cosmos_lidar.parallel.work_sharing import Share


@dataclass(frozen=True)
class Fake:
    """Makes gray videos; refuses clips of no frames, and stops at one of a name."""

    data: MultiviewDataConfig = field(default_factory=lambda: MultiviewDataConfig(view_ids=[0]))
    sampling: ViewSampling = ViewSampling()
    stop_at: str = ""

    def __call__(self, given: ViewInput, seed: int, fps: float = 0.0) -> Tensor:
        if given.name == self.stop_at:
            raise KeyboardInterrupt
        if not given.frames.shape[2]:
            raise DataError("no frames", clip=given.name)
        return torch.full((1, 3, 3, 16, 16), seed, dtype=torch.uint8)


def clip(name: str, frames: int = 1) -> ViewInput:
    return ViewInput(name, ("front",), torch.zeros(1, 3, frames, 16, 16, dtype=torch.uint8), None, (), 10.0)


def clips(*names: str) -> list:
    return [partial(clip, name, int(name != "odd")) for name in names]


def test_ranks_take_turns_and_an_odd_clip_ends_nothing(tmp_path: Path) -> None:
    made = [
        generate_views(clips("a", "odd", "b", "c"), Fake(), ViewOutput(tmp_path), {}, Share(rank, 2)) for rank in (0, 1)
    ]
    assert [one.written for one in made] == [("a", "b"), ("c",)]
    assert made[0].errors == {}
    assert list(made[1].errors) == ["1"]
    assert "no frames [clip odd]" in made[1].errors["1"]


def test_a_benchmark_generates_four_times_and_writes_once(tmp_path: Path) -> None:
    calls = []

    class Counted(Fake):
        def __call__(self, given: ViewInput, seed: int, fps: float = 0.0) -> Tensor:
            calls.append(given.name)
            return super().__call__(given, seed, fps)

    output = ViewOutput(tmp_path, benchmark=True)
    for _ in range(2):  # the second time the clips are there
        found = generate_views(clips("a", "odd"), Counted(), output, {})
        assert found.written == ("a",)
        assert found.seconds.keys() == {"a"}
    assert calls == ["a"] * 4 + ["odd"] + ["a"] * 4 + ["odd"]
    assert generate_views(clips("a"), Counted(), ViewOutput(tmp_path), {}).kept == ("a",)


def test_after_an_interruption_the_rest_is_made(tmp_path: Path) -> None:
    output = ViewOutput(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        generate_views(clips("a", "b", "c"), replace(Fake(), stop_at="b"), output, {})
    again = generate_views(clips("a", "b", "c"), Fake(), output, {})
    assert (again.kept, again.written) == (("a",), ("b", "c"))


def test_weights_are_told_apart_by_content(tmp_path: Path) -> None:
    for name in ("model.pt", "other.pt", "vae.pth"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora" / "adapter_model.safetensors").write_bytes(b"x")
    base = weights_record(tmp_path / "model.pt", False, [], tmp_path / "vae.pth", "fp32")
    others = [
        weights_record(tmp_path / "other.pt", False, [], tmp_path / "vae.pth", "fp32"),
        weights_record(tmp_path / "model.pt", True, [], tmp_path / "vae.pth", "fp32"),
        weights_record(tmp_path / "model.pt", False, [tmp_path / "lora"], tmp_path / "vae.pth", "fp32"),
        weights_record(tmp_path / "model.pt", False, [], tmp_path / "vae.pth", "bf16"),
    ]
    assert base not in others
    assert base["checkpoint"].startswith("model.pt ")
