import re
from pathlib import Path

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.launch.cluster import load_cluster

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("file", sorted((ROOT / "launch" / "clusters").glob("*.yaml")), ids=lambda file: file.stem)
def test_shipped_clusters_can_be_read(file: Path):
    assert load_cluster(file).executor == {"example": "slurm"}.get(file.stem, file.stem)


def test_nodes_and_gpus_of_the_command_line_come_first(tmp_path: Path):
    cluster = load_cluster(ROOT / "launch" / "clusters" / "example.yaml", nodes=5, gpus=4)
    assert (cluster.nodes, cluster.ranks_per_node, cluster.gpus_per_node) == (5, 4, 4)
    (tmp_path / "cpu.yaml").write_text("executor: slurm\n")
    cluster = load_cluster(tmp_path / "cpu.yaml", gpus=2)
    assert (cluster.nodes, cluster.ranks_per_node, cluster.gpus_per_node) == (1, 2, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("executor: slurm\npartitio: x", "unknown key [file {file}, key partitio] Expected: a key such as partition"),
        ("executor: slurm\nnodes: two", "got 'two' [file {file}, key nodes] Expected: int"),
        ("executor: slurm\nnodes: true", "got True [file {file}, key nodes] Expected: int"),
        ("executor: slurm\ntime: 4:00:00", "got 14400 [file {file}, key time] Expected: str ("),
        ("executor: slurm\nenv: [A]", "got ['A'] [file {file}, key env] Expected: a mapping of str"),
        ("executor: slurm\ncontainer_mounts: /a:/a", "[file {file}, key container_mounts] Expected: a list of str"),
        ("nodes: 1", "missing [file {file}, key executor] Expected: local, docker, slurm"),
        ("executor: k8s", "got 'k8s' [file {file}, key executor] Expected: local, docker, slurm"),
        ("executor: local\nnodes: 2", "nodes=2 with executor local ({file}): several nodes need"),
        ("executor: slurm\nranks_per_node: 0", "ranks_per_node=0 ({file}): expected at least 1"),
        ("executor: docker", "missing [file {file}, key container_image]"),
        ("executor: slurm\nssh_host: login", "missing with ssh_host [file {file}, key job_dir]"),
        ("- executor", "not a mapping [file {file}]"),
        ("executor: [", "cannot be read"),
    ],
)
def test_wrong_facts_are_refused_with_file_and_key(tmp_path: Path, text: str, message: str):
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=re.escape(message.format(file=file))):
        load_cluster(file)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=re.escape(f"file {tmp_path / 'no.yaml'}")):
        load_cluster(tmp_path / "no.yaml")
