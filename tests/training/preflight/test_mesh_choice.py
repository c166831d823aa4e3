from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.plan import ParallelPlan
from cosmos_lidar.parallel.mesh import MeshSizes
from cosmos_lidar.training.config import ParallelConfig, TrainerConfig
from cosmos_lidar.training.preflight.machines import MACHINES
from cosmos_lidar.training.preflight.mesh_choice import choices, with_mesh
from tests.training.preflight.test_step_time import transformer

H200 = MACHINES["h200"]
PLAN = ParallelPlan((), heads=16, context="sequence")


@dataclass
class Options:
    """A configuration whose samples at most four ranks can share."""

    parallel: ParallelConfig
    trainer: TrainerConfig = field(default_factory=lambda: TrainerConfig(precision="bf16"))
    data: Any = field(default_factory=lambda: SimpleNamespace(batch_size=1, workers=2))
    model: Any = field(default_factory=lambda: SimpleNamespace(ema=SimpleNamespace(enabled=False)))

    def check(self) -> None:
        """Refuse more."""
        if self.parallel.context > 4:
            raise UserError("too many")


def test_possible_meshes_by_speed() -> None:
    work, run = transformer(views=5, frame_tokens=3520), Options(ParallelConfig(context=8))
    found = choices(run, PLAN, work, None, 16, H200)
    meshes = [one.sizes for one in found]
    assert len(meshes) == len(set(meshes))
    assert {one.world for one in meshes} == {16}
    assert {one.context for one in meshes} == {1, 2, 4}  # check() refuses 8
    assert {one.tensor for one in meshes} == {1}  # the plan has no layers to split
    speeds = [one.time.samples_per_s for one in found]
    assert speeds == sorted(speeds, reverse=True)
    assert {one.fits for one in found} == {None}


def test_what_does_not_fit_is_named() -> None:
    work = transformer(views=5, frame_tokens=3520)
    run = Options(ParallelConfig())
    counted = SimpleNamespace(weights=8e9, optimizer=16e9, average=0, gradients=8e9, activations=208e9)
    found = {one.sizes: one for one in choices(run, PLAN, work, (MeshSizes(), counted), 4, H200)}  # type: ignore[arg-type]
    copies, shards, shared = MeshSizes(data_replicate=4), MeshSizes(data_shard=4), MeshSizes(context=4)
    assert found[copies].memory_gb == pytest.approx(232)
    assert found[shards].memory_gb == pytest.approx(8 + 200)
    assert found[shared].memory_gb == pytest.approx(8 + 50)
    assert [found[sizes].fits for sizes in (copies, shards, shared)] == [False, False, True]


def test_only_the_mesh_is_changed() -> None:
    changed = with_mesh(Options(ParallelConfig(recompute="full", context=8)), MeshSizes(2, 4, 2, 1))
    assert changed.parallel == ParallelConfig(recompute="full", data_replicate=2, data_shard=4, context=2, tensor=1)
