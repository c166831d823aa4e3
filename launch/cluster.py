"""The facts of a cluster that a launcher must know, from one YAML file."""

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
    """Where recipes run.

    Attributes:
        executor: local (this machine), docker (a container on this machine) or slurm.
        nodes: machines; more than one on slurm only.
        ranks_per_node: processes on each machine, one per GPU.
        gpus_per_node: GPUs that each machine is asked for; 0 on machines without. docker: -1 for all.
        cpus_per_rank: CPU cores of each process; 0 leaves the choice to the scheduler.
        python: interpreter that has the project's packages; empty: that of the launcher (local), else ``python``.
        output_root: folder of all runs, seen by all machines; empty: ``checkpoints`` below the code.
        env: further environment variables of the processes.
        container_image: image for docker, or for slurm with pyxis; empty on slurm: no container.
        container_mounts: FROM:TO or FROM:TO:ro.
        shm_size: docker: size of /dev/shm, which data loaders fill.
        account: slurm: who pays.
        partition: slurm: queue.
        time: slurm: limit of one part of the job, [days-]hours:minutes:seconds; the job goes on after it.
        max_restarts: slurm: how often the job may be requeued.
        stop_before_s: slurm: seconds before the limit at which the ranks are asked to save.
        sbatch: slurm: further options of sbatch without their dashes, such as {qos: high}; {exclusive: ""} is one
            without a value.
        job_dir: slurm: folder for code and logs, seen by all machines; empty: $NEMORUN_HOME/experiments, when
            submitted on the cluster itself.
        ssh_host: slurm: login node to submit on; empty: this machine.
        ssh_user: slurm: name there.
        ssh_identity: slurm: file of the private key; empty: the agent's.
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
    """Read the facts of a cluster.

    Args:
        file: YAML mapping with fields of :class:`Cluster`.
        nodes: takes the place of ``nodes``.
        gpus: takes the place of ``ranks_per_node``, and of ``gpus_per_node`` where that is not 0.

    Raises:
        DataError: no such file, no YAML mapping, an unknown key (the nearest one is named), a value of another type.
        UserError: facts that do not go together.
    """
    known = get_type_hints(Cluster)
    facts = read_yaml(file, "a YAML file of cluster facts: KEY: VALUE lines, such as executor: slurm")
    for key, value in facts.items():
        if key not in known:
            wanted = f"a fact such as {nearest(str(key), known)}"
            raise DataError("unknown key", file=file, key=str(key), wanted=wanted)
        facts[key] = _typed(value, known[key], file, key)
    if "executor" not in facts:
        raise DataError("missing", file=file, key="executor", wanted=" or ".join(_EXECUTORS))
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
    name = {int: "a whole number", str: "text (in quotes: a bare 4:00:00 is a number in YAML)"}
    wanted = name.get(kind, "a list of texts" if kind == list[str] else "a mapping of names to texts")
    raise DataError(f"{value!r} is of the wrong type", file=file, key=key, wanted=wanted)


def _check(cluster: Cluster, file: Path) -> None:
    if cluster.executor not in _EXECUTORS:
        wanted = " or ".join(_EXECUTORS)
        raise DataError(f"{cluster.executor!r} is no executor", file=file, key="executor", wanted=wanted)
    for key in ("nodes", "ranks_per_node"):
        if getattr(cluster, key) < 1:
            raise UserError(f"{key}={getattr(cluster, key)} ({file}): at least 1")
    if cluster.nodes > 1 and cluster.executor != "slurm":
        raise UserError(f"nodes={cluster.nodes} with executor {cluster.executor} ({file}): only slurm has several")
    if cluster.executor == "docker" and not cluster.container_image:
        raise DataError("missing", file=file, key="container_image", wanted="the image that docker runs")
    if cluster.ssh_host and not cluster.job_dir:
        wanted = f"a folder on {cluster.ssh_host} that all nodes see"
        raise DataError("missing beside ssh_host", file=file, key="job_dir", wanted=wanted)
