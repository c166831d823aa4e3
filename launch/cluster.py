"""Cluster configuration of the launchers, from one YAML file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from cosmos_lidar.errors import DataError, UserError, nearest
from cosmos_lidar.files import read_yaml

_EXECUTORS = ("local", "docker", "slurm")


@dataclass
class Cluster:
    """Configuration of the machines on which recipes run.

    Attributes:
        executor: local (this machine), docker (a container on this machine) or slurm.
        nodes: machines; more than one on slurm only.
        ranks_per_node: ranks on each machine, one per GPU.
        gpus_per_node: GPUs requested on each machine; 0 for none. docker: -1 for all.
        cpus_per_rank: CPU cores of each rank; 0: the scheduler's default.
        python: interpreter with the project's packages; empty: that of the launcher (local), else ``python``.
        output_root: folder of all runs, shared by all machines; empty: ``checkpoints`` below the code.
        env: further environment variables of the ranks.
        container_image: image for docker, or for slurm with pyxis; empty on slurm: no container.
        container_mounts: FROM:TO or FROM:TO:ro.
        shm_size: docker: size of /dev/shm, which data loaders fill.
        account: slurm: account.
        partition: slurm: partition.
        time: slurm: time limit, [days-]hours:minutes:seconds, after which the job is requeued and resumes.
        max_restarts: slurm: largest number of requeues.
        stop_before_s: slurm: seconds before the limit at which the ranks save.
        sbatch: slurm: further options of sbatch without their dashes, such as {qos: high}; {exclusive: ""} is one
            without a value.
        job_dir: slurm: folder for code and logs, shared by all machines; empty: $NEMORUN_HOME/experiments, when
            submitted on the cluster itself.
        ssh_host: slurm: login node to submit on; empty: this machine.
        ssh_user: slurm: user name there.
        ssh_identity: slurm: private key file; empty: that of the agent.
    """

    executor: str
    nodes: int = 1
    ranks_per_node: int = 1
    gpus_per_node: int = 0
    cpus_per_rank: int = 0
    python: str = ""
    output_root: str = ""
    env: dict[str, str] = field(default_factory=dict)
    container_image: str = ""
    container_mounts: list[str] = field(default_factory=list)
    shm_size: str = "16g"
    account: str = ""
    partition: str = ""
    time: str = "4:00:00"
    max_restarts: int = 50
    stop_before_s: int = 120
    sbatch: dict[str, str] = field(default_factory=dict)
    job_dir: str = ""
    ssh_host: str = ""
    ssh_user: str = ""
    ssh_identity: str = ""


def load_cluster(file: Path, nodes: int | None = None, gpus: int | None = None) -> Cluster:
    """Read the configuration of a cluster.

    Args:
        file: YAML mapping with fields of :class:`Cluster`.
        nodes: overrides ``nodes``.
        gpus: overrides ``ranks_per_node``, and ``gpus_per_node`` unless that is 0.

    Raises:
        DataError: no such file, no YAML mapping, an unknown key (the nearest one is named), a value of another type.
        UserError: values that exclude each other.
    """
    known = get_type_hints(Cluster)
    facts = read_yaml(file, "a YAML file with KEY: VALUE lines, such as executor: slurm")
    for key, value in facts.items():
        if key not in known:
            wanted = f"a key such as {nearest(str(key), known)}"
            raise DataError("unknown key", file=file, key=str(key), wanted=wanted)
        facts[key] = _typed(value, known[key], file, key)
    if "executor" not in facts:
        raise DataError("missing", file=file, key="executor", wanted=", ".join(_EXECUTORS))
    cluster = Cluster(**facts)
    changes: dict[str, int] = {"nodes": nodes} if nodes is not None else {}
    if gpus is not None:
        changes |= {"ranks_per_node": gpus} | ({"gpus_per_node": gpus} if cluster.gpus_per_node else {})
    cluster = dataclasses.replace(cluster, **changes)
    _check(cluster, file)
    return cluster


def _typed(value: Any, kind: Any, file: Path, key: str) -> Any:
    """Return ``value`` if it is of type ``kind``; numbers count as text, as an unquoted ``1`` in YAML is one."""

    def text(one: Any) -> bool:
        return isinstance(one, (str, int, float)) and not isinstance(one, bool)

    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str):
        return value
    if kind == list[str] and isinstance(value, list) and all(map(text, value)):
        return [str(one) for one in value]
    if kind == dict[str, str] and isinstance(value, dict) and all(map(text, value.values())):
        return {str(name): str(one) for name, one in value.items()}
    name = {int: "int", str: "str (in quotes: a bare 4:00:00 is a number in YAML)"}
    wanted = name.get(kind, "a list of str" if kind == list[str] else "a mapping of str to str")
    raise DataError(f"got {value!r}", file=file, key=key, wanted=wanted)


def _check(cluster: Cluster, file: Path) -> None:
    if cluster.executor not in _EXECUTORS:
        wanted = ", ".join(_EXECUTORS)
        raise DataError(f"got {cluster.executor!r}", file=file, key="executor", wanted=wanted)
    for key in ("nodes", "ranks_per_node"):
        if getattr(cluster, key) < 1:
            raise UserError(f"{key}={getattr(cluster, key)} ({file}): expected at least 1")
    if cluster.nodes > 1 and cluster.executor != "slurm":
        raise UserError(
            f"nodes={cluster.nodes} with executor {cluster.executor} ({file}): several nodes need executor slurm"
        )
    if cluster.executor == "docker" and not cluster.container_image:
        raise DataError("missing", file=file, key="container_image", wanted="the image to run")
    if cluster.ssh_host and not cluster.job_dir:
        wanted = f"a folder on {cluster.ssh_host} shared by all nodes"
        raise DataError("missing with ssh_host", file=file, key="job_dir", wanted=wanted)
