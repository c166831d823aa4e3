"""Start a recipe with NeMo-Run, on this machine, in a container, or on SLURM.

``python -m launch.nemo_run --cluster launch/clusters/example.yaml --nodes 2 recipes/lidar_tokenizer.py data.path=…``
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from cosmos_lidar import _checkout
from cosmos_lidar.errors import UserError
from cosmos_lidar.extras import require
from cosmos_lidar.launch.cluster import Cluster, load_cluster
from cosmos_lidar.recipes.registry import recipe_file

_FOLDER = Path(__file__).resolve().parent
_IN_CHECKOUT = _FOLDER.parent == _checkout.ROOT  # else installed, inside cosmos_lidar
ROOT = _checkout.ROOT  # of the code: the repository, or site-packages
_CODE = (
    "cosmos_lidar",
    "energon_tasks",
    *(_checkout.BESIDE if _IN_CHECKOUT else ()),
)  # packaged with a job, as on disk


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns 0, 1 if the recipe failed, or 2 for wrong input."""
    args = _parser().parse_args(argv)
    try:
        cluster = load_cluster(args.cluster, args.nodes, args.gpus)
        recipe = find_recipe(args.recipe)
        return start(cluster, [recipe, *args.overrides], args.name or Path(recipe).stem, args.dryrun)
    except UserError as error:
        sys.stderr.write(f"launch: {error}\n")
        return 2


def find_recipe(path: str) -> str:
    """Return the path of a recipe file: relative to the repository if it is packaged with every job, else absolute.

    Args:
        path: absolute, or relative to the root of the repository or to the current folder, looked up in this order; or
            a name, such as ``lidar_tokenizer``.

    Raises:
        UserError: no such file.
    """
    if not path.endswith(".py"):
        path = str(recipe_file(path))
    for folder in (ROOT, Path.cwd()):
        file = (folder / path).resolve()
        if file.is_file() and file.suffix == ".py":
            packaged = any(file.is_relative_to(ROOT / code) for code in _CODE)
            return str(file.relative_to(ROOT)) if packaged else str(file)
    raise UserError(f"{path}: expected a recipe file, by its name, or its path from the current folder or from {ROOT}")


def start(cluster: Cluster, recipe: list[str], name: str, dryrun: bool = False) -> int:
    """Start ``recipe`` on ``cluster``; a dry run prints the plan.

    A SLURM job is submitted; elsewhere this returns when the recipe has ended.

    Args:
        cluster: machines to run on.
        recipe: a recipe file, as of :func:`find_recipe`, and its ``key=value`` options.
        name: name of the experiment.
        dryrun: print the plan, start nothing.

    Returns:
        0, or 1 if the recipe failed.

    Raises:
        UserError: NeMo-Run is not installed.
    """
    nemo_run = require("nemo_run")

    if _IN_CHECKOUT:
        os.chdir(ROOT)
    else:
        recipe = [str(ROOT / recipe[0]), *recipe[1:]] if cluster.executor == "local" else recipe
    executor, script = {"local": _local, "docker": _docker, "slurm": _slurm}[cluster.executor](cluster, recipe)
    if dryrun:
        with contextlib.redirect_stdout(sys.stderr), nemo_run.Experiment(name, executor=executor) as experiment:
            experiment.add(script, executor=executor, name="train")
            experiment.dryrun(log=False)
        sys.stdout.write(_text(cluster, experiment.jobs[0]._dryrun_info.request))
        return 0
    submitted = cluster.executor == "slurm"
    with nemo_run.Experiment(name, executor=executor) as experiment:  # its exit waits for jobs that are not detached
        experiment.add(script, executor=executor, name="train")
        experiment.run(detach=submitted, tail_logs=not submitted)
    state = experiment.jobs[0].state.name
    return 0 if state == "SUCCEEDED" or submitted and state in ("SUBMITTED", "PENDING", "RUNNING") else 1


def _environment(cluster: Cluster, code: str) -> dict[str, str]:
    """Return the environment variables of every rank; ``code`` is its path of the repository."""
    root = {"OUTPUT_ROOT": cluster.output_root} if cluster.output_root else {}
    return {"PYTHONPATH": code, "PYTHONUNBUFFERED": "1"} | root | cluster.env


def _local(cluster: Cluster, recipe: list[str]) -> tuple[Any, Any]:
    """Return executor and script for this machine.

    ``torch.distributed.run`` is started here and not by NeMo-Run's launcher, which puts arguments in quotes that are
    never removed, and which needs ``torchrun`` on the PATH.
    """
    import nemo_run

    env = os.environ | _environment(cluster, str(ROOT))
    executor = nemo_run.LocalExecutor(env_vars=env, packager=nemo_run.Packager())
    python = cluster.python or sys.executable
    if cluster.ranks_per_node == 1:
        return executor, nemo_run.Script(path=recipe[0], args=recipe[1:], entrypoint=python)
    args = ["--standalone", f"--nproc-per-node={cluster.ranks_per_node}", *recipe]
    return executor, nemo_run.Script(path="torch.distributed.run", m=True, args=args, entrypoint=python)


def _docker(cluster: Cluster, recipe: list[str]) -> tuple[Any, Any]:
    """Return executor and script for a container on this machine; its arguments are unquoted twice."""
    import nemo_run

    packager, recipe = _package(recipe)
    executor = nemo_run.DockerExecutor(
        container_image=cluster.container_image,
        ntasks_per_node=cluster.ranks_per_node,
        num_gpus=cluster.gpus_per_node or None,
        ipc_mode="host" if cluster.gpus_per_node else None,
        shm_size=None if cluster.gpus_per_node else cluster.shm_size,
        volumes=list(cluster.container_mounts),
        env_vars=_environment(cluster, "/nemo_run/code"),
        packager=packager,
    )
    args = ["--standalone", f"--nproc-per-node={cluster.ranks_per_node}", *recipe]
    quoted = [shlex.quote(arg).replace("\\", "\\\\").replace('"', '\\"') for arg in args]
    python = cluster.python or "python"
    return executor, nemo_run.Script(path="torch.distributed.run", m=True, args=quoted, entrypoint=python)


def _slurm(cluster: Cluster, recipe: list[str]) -> tuple[Any, Any]:
    """Return executor and script for SLURM: one task per rank, saved, requeued and resumed as by train.sbatch.

    NeMo-Run's batch script calls ``srun`` and checks its status; a shell function of that name, from ranks.sh,
    handles signals and requeues. NeMo-Run writes values into the script without quotes, so they are quoted here.
    """
    import nemo_run

    packager, recipe = _package(recipe)
    names = {"container_image": cluster.container_image, "account": cluster.account, "partition": cluster.partition}
    numbers = {"gpus_per_node": cluster.gpus_per_node, "cpus_per_task": cluster.cpus_per_rank}
    env = _environment(cluster, "/nemo_run/code") | {"MAX_RESTARTS": str(cluster.max_restarts)}
    env["SAVE_S"] = str(max(cluster.stop_before_s - 20, 10))
    if cluster.cpus_per_rank:
        env["SRUN_CPUS_PER_TASK"] = str(cluster.cpus_per_rank)
    executor = nemo_run.SlurmExecutor(
        nodes=cluster.nodes,
        ntasks_per_node=cluster.ranks_per_node,
        time=cluster.time,
        signal=f"B:USR1@{cluster.stop_before_s}",
        additional_parameters={"requeue": True} | {key: value or True for key, value in cluster.sbatch.items()},
        container_mounts=list(cluster.container_mounts),
        srun_args=["--kill-on-bad-exit=0", "--wait=300", "--label"],
        env_vars={key: shlex.quote(value) for key, value in env.items()},
        setup_lines=_setup(),
        job_name_prefix="cosmos_lidar-",
        tunnel=_tunnel(cluster),
        packager=packager,
        **{key: value or None for key, value in (names | numbers).items()},
    )
    args = [shlex.quote(arg) for arg in (cluster.python or "python", *recipe)]
    return executor, nemo_run.Script(
        path=str(_FOLDER.relative_to(ROOT) / "slurm" / "rank.sh"), args=args, entrypoint="bash"
    )


def _setup() -> str:
    """Return the shell lines before the job's ``srun``, which is step 1: NeMo-Run queries an address in step 0."""
    functions = (_FOLDER / "slurm" / "ranks.sh").read_text(encoding="utf-8")
    return f'set +evx\n{functions}\nset_master\nsrun() {{ run_ranks 1 "$@"; }}\n'


def _tunnel(cluster: Cluster) -> Any:
    import nemo_run
    from nemo_run.config import get_nemorun_home

    if not cluster.ssh_host:
        # NeMo-Run prepares a job below its home, but reads it from the folder of the tunnel.
        return nemo_run.LocalTunnel(job_dir=cluster.job_dir or os.path.join(get_nemorun_home(), "experiments"))
    return nemo_run.SSHTunnel(
        host=cluster.ssh_host, user=cluster.ssh_user, job_dir=cluster.job_dir, identity=cluster.ssh_identity or None
    )


def _package(recipe: list[str]) -> tuple[Any, list[str]]:
    """Return what packages a job's code, and the command line of the recipe in that package.

    A recipe from elsewhere comes with the modules beside it, all at the root of the package, where they import each
    other as they do at home.
    """
    import nemo_run

    patterns, folders = [str(ROOT / folder) for folder in _CODE], [str(ROOT)] * len(_CODE)
    file = Path(recipe[0])
    if file.is_absolute():
        patterns.append(str(file.parent / "*.py"))
        folders.append(str(file.parent))
        recipe = [file.name, *recipe[1:]]
    return nemo_run.PatternPackager(include_pattern=patterns, relative_path=folders), recipe


def _text(cluster: Cluster, request: Any) -> str:
    """Return the output of a dry run: the batch script, or the command with its environment."""
    if cluster.executor == "slurm":
        return request.materialize()
    if cluster.executor == "local":
        (replica,) = (one for group in request.role_params.values() for one in group)
        env = _environment(cluster, str(ROOT))
        shown = [f"{key}={shlex.quote(value)}" for key, value in env.items()]
        return f"cd {shlex.quote(replica.cwd)}\n{' '.join(shown)} {shlex.join(replica.args)}\n"
    (container,) = request.containers
    executor = container.executor
    lines = [f"image: {executor.container_image}", f"gpus: {executor.num_gpus or 0}"]
    lines += [f"mount: {volume}" for volume in executor.volumes]
    lines += [f"env: {key}={value}" for key, value in sorted(executor.env_vars.items())]
    return "\n".join([*lines, f"command: {' '.join(container.command)}"]) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m launch.nemo_run", description="Start a recipe with NeMo-Run.")
    parser.add_argument("--cluster", type=Path, required=True, help="YAML file of the cluster, see launch/cluster.py")
    parser.add_argument("--nodes", type=int, help="machines, instead of the file's")
    parser.add_argument("--gpus", type=int, help="GPUs (ranks) per machine, instead of the file's")
    parser.add_argument("--name", help="name of the experiment; default: that of the recipe file")
    parser.add_argument("--dryrun", action="store_true", help="print the plan, such as the sbatch file, and exit")
    parser.add_argument("recipe", help="recipe file, such as recipes/lidar_tokenizer.py, or one of your own")
    parser.add_argument("overrides", nargs=argparse.REMAINDER, metavar="key=value", help="options of the recipe")
    return parser


if __name__ == "__main__":
    sys.exit(main())
