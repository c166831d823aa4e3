from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("nemo")

from cosmos_lidar.errors import UserError
from cosmos_lidar.parallel.mesh import MeshSizes
from cosmos_lidar.recipes import dit
from cosmos_lidar.training.preflight.launch_time import predict_launch, target


def test_options_that_cannot_be_meant() -> None:
    assert target("", 0, 0, 0.0) is None
    with pytest.raises(UserError, match="belong to --machine"):
        target("", 2, 0, 0.0)
    with pytest.raises(UserError, match="expected at least 1 node"):
        target("h200", -1, 0, 0.0)
    with pytest.raises(UserError, match="--processes 8: 2 x h200 has 16 GPUs"):
        target("h200", 2, 8, 0.0)
    where = target("h200", 2, 16, 0.0)
    assert where is not None
    assert where.gpus == 16


def test_a_slow_mesh_is_named_with_a_faster_one() -> None:
    run = dit.debug()
    run = replace(run, parallel=replace(run.parallel, tensor=2))
    where = target("h100-nvl", 1, 0, 0.25)
    assert where is not None
    found = predict_launch(run, dit.FAMILY, MeshSizes(data_shard=4, tensor=2), None, where)
    assert {one.sizes.world for one in found.meshes} == {8}
    assert found.step.samples == 4 * run.data.batch_size
    lines = list(found.lines())
    assert [topic for topic, _ in lines].count("network") == 2
    assert lines[0][1].endswith(f"MFU {found.step.mfu:.0%}")
    assert any(topic == "faster" and "parallel.tensor=1" in text for topic, text in lines)
    (step,) = [found.document()["step"]]
    assert {row["dimension"] for row in step["traffic"]} == {"data_shard", "tensor"}
    assert found.document()["meshes"][0]["samples_per_s"] == found.meshes[0].time.samples_per_s
