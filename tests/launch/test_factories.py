"""NeMo-Run factories of every recipe; the local executor trains one, SLURM's dry run shows the job."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

nemo_run = pytest.importorskip("nemo_run")

from cosmos_lidar.errors import UserError  # noqa: E402
from cosmos_lidar.launch import factories  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["dit", "lidar_tokenizer", "lidargen", "video_tokenizer"])
def test_every_family_has_a_factory(name: str):
    import fiddle

    from cosmos_lidar.recipes.registry import find_family

    family = find_family(name)
    partial = getattr(factories, name)("debug")
    assert fiddle.build(partial.run) == family.recipes["debug"]()
    partial.run.trainer.max_steps = 7
    assert fiddle.build(partial.run).trainer.max_steps == 7
    first = next(iter(family.recipes.values()))()
    assert fiddle.build(getattr(factories, name)().run) == first
    with pytest.raises(UserError, match=rf"{name}: unknown recipe 'nothing'; valid: "):
        getattr(factories, name)("nothing")


@pytest.mark.slow  # starts NeMo-Run's runner, which imports NeMo and trains, in another process
def test_the_local_executor_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NEMORUN_HOME", str(tmp_path / "nemo_run"))
    partial = factories.dit("debug")
    partial.run.trainer.max_steps = 3
    partial.run.log.root = str(tmp_path)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # NeMo-Run starts `python`
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": path}
    monkeypatch.setenv("PATH", path)
    nemo_run.run(partial, executor=nemo_run.LocalExecutor(env_vars=env), detach=False, tail_logs=False)
    folder = tmp_path / "posttraining" / "diffusion" / "debug"
    assert json.loads((folder / "checkpoints" / "newest_checkpoint.json").read_text())["name"] == "iter_000000003"


def test_the_dry_run_of_slurm_starts_a_rank_per_gpu_of_the_changed_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from nemo_run.core.serialization.zlib_json import ZlibJSONSerializer

    monkeypatch.setenv("NEMORUN_HOME", str(tmp_path))
    monkeypatch.setattr("sys.stdin", io.StringIO())  # NeMo-Run's tunnel reads it
    partial = factories.dit("debug")
    partial.run.trainer.max_steps = 7
    executor = nemo_run.SlurmExecutor(
        account="lab",
        partition="gpu",
        nodes=2,
        ntasks_per_node=8,
        gpus_per_node=8,
        launcher="torchrun",
        tunnel=nemo_run.LocalTunnel(job_dir=str(tmp_path / "experiments")),
        packager=nemo_run.PatternPackager(include_pattern=str(ROOT / "launch"), relative_path=str(ROOT)),
    )
    with nemo_run.Experiment("dit", executor=executor) as experiment:
        experiment.add(partial, executor=executor, name="train")
        experiment.dryrun(log=False)
        script = experiment.jobs[0]._dryrun_info.request.materialize()
    for line in ("#SBATCH --nodes=2", "#SBATCH --gpus-per-node=8", "#SBATCH --partition=gpu"):
        assert line in script.splitlines()
    (command,) = (line for line in script.splitlines() if "torchrun" in line)
    assert "--nnodes 2 --nproc-per-node 8" in command
    assert "nemo_run.core.runners.fdl_runner" in command
    assert "/train/configs/train_fn_or_script" in command
    serializer = ZlibJSONSerializer()  # what that file holds: a dry run writes none
    sent = serializer.deserialize(serializer.serialize(partial))
    assert (sent.__fn_or_cls__, sent.run.trainer.max_steps) == (factories.train, 7)
