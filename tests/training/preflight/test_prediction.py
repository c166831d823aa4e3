from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cosmos_lidar.parallel.mesh import mesh_sizes
from cosmos_lidar.recipes import dit, lidar_tokenizer, video_tokenizer
from cosmos_lidar.training.overrides import apply_overrides
from cosmos_lidar.training.preflight.doctor import base_memory
from cosmos_lidar.training.preflight.prediction import predict
from cosmos_lidar.training.run_log import read_metrics
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).resolve().parents[3]
FEW = (
    "trainer.max_steps=2 trainer.val_at_start=false trainer.val_every=0 trainer.val_batches=1 trainer.save_every=0 "
    "trainer.export=false log.tensorboard=false"
).split()
DIT = "model.name=faditv2_60m data.text_shape=[32,1024] data.latent_shape=[16,2,32,64] data.batch_size=1".split()
CASES = {
    "tokenizer": (lidar_tokenizer, 1, ["model.channels=128", "data.batch_size=24", "data.crop_columns=128"]),
    "transformer": (dit, 1, DIT),
    "video tokenizer": (video_tokenizer, 1, ["model.channels=128", "data.batch_size=4"]),
    "sharded, in bf16": (dit, 2, [*DIT, "parallel.data_shard=2", "trainer.precision=bf16"]),
    "split and recomputed": (dit, 2, [*DIT, "parallel.context=2", "parallel.recompute=full"]),
}


@pytest.mark.parametrize("case", [pytest.param(case, marks=pytest.mark.slow) for case in CASES])
def test_predicted_memory_is_what_training_takes(case: str, tmp_path: Path) -> None:
    family, processes, options = CASES[case]
    name = family.__name__.rpartition(".")[2]
    options = ["recipe=debug", f"log.root={tmp_path}", "trainer.tight_memory=true", *FEW, *options]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(ROOT / "recipes" / f"{name}.py"), *options], env=environment, capture_output=True, text=True,
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    rows = read_metrics(next(tmp_path.rglob("metrics.csv")))
    measured = max(float(row["memory_gb"]) for row in rows if row["memory_gb"])
    run = apply_overrides(family.debug(), options[1:])
    sizes = run.parallel.data_replicate, run.parallel.data_shard, run.parallel.context, run.parallel.tensor
    found = predict(run, family.FAMILY, mesh_sizes(*sizes, processes))
    base = int(subprocess.run([sys.executable, "-c", _BASE], capture_output=True, text=True, check=True).stdout) / 1e9
    assert found.peak / 1e9 > 0.3  # enough for the test to be about tensors
    assert (base + found.peak / 1e9) == pytest.approx(measured, rel=0.15)


_BASE = """
from cosmos_lidar.training import engine
from cosmos_lidar.training.preflight import doctor
import torch.distributed.fsdp
print(doctor.base_memory())
"""


def test_parts_of_the_prediction_add_up() -> None:
    run = apply_overrides(dit.debug(), ["parallel.data_shard=2"])
    whole = predict(dit.debug(), dit.FAMILY, mesh_sizes(0, 1, 1, 1, 1))
    half = predict(run, dit.FAMILY, mesh_sizes(0, 2, 1, 1, 2))
    assert whole.parameters == half.parameters
    assert whole.weights == pytest.approx(4 * whole.parameters, rel=0.01)  # and the buffer of positions
    assert whole.optimizer == pytest.approx(8 * whole.parameters, rel=0.01)
    for part in ("weights", "gradients", "optimizer", "average"):
        assert getattr(half, part) == pytest.approx(getattr(whole, part) / 2, rel=0.05)
    assert half.total_flops == 2 * whole.total_flops == 2 * half.flops
    assert base_memory() > 1e8
