from __future__ import annotations

import pytest
from lightning.pytorch.plugins.environments import LightningEnvironment, TorchElasticEnvironment

from cosmos_lidar.parallel.mesh import MeshSizes
from cosmos_lidar.training.mesh_strategy import MeshStrategy, cluster_environment


def test_each_rank_reads_the_data_of_its_place_in_the_mesh() -> None:
    strategy = MeshStrategy(MeshSizes(data_replicate=2, data_shard=2, context=2), on_gpu=False)
    shares = []
    for rank in range(8):
        strategy.cluster_environment = LightningEnvironment()
        strategy.cluster_environment.set_global_rank(rank)
        strategy._local_rank = 0
        shares.append(strategy.distributed_sampler_kwargs)
    assert [share["rank"] for share in shares] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert {share["num_replicas"] for share in shares} == {4}


@pytest.mark.parametrize(("on_gpu", "backend"), [(False, "gloo"), (True, "cpu:gloo,cuda:nccl")])
def test_processes_talk_through(on_gpu: bool, backend: str) -> None:
    assert MeshStrategy(MeshSizes(), on_gpu)._process_group_backend == backend


def test_other_processes_are_found_by_the_variables_of_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert isinstance(cluster_environment(), LightningEnvironment)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("SLURM_NTASKS", "8")  # does not agree, and is not asked
    for name in ("MASTER_ADDR", "MASTER_PORT", "GROUP_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID"):
        monkeypatch.setenv(name, "1")
    assert isinstance(cluster_environment(), TorchElasticEnvironment)
