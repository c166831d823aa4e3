"""Memory predicted by the doctor, compared with the measured memory of runs on this machine's CPU.

    OMP_NUM_THREADS=1 python benchmarks/doctor.py

Each row trains two steps of a debug recipe at another size, in processes of its own, and reads ``memory_gb`` of
``metrics.csv``, the resident peak (Linux). To the prediction the memory of an interpreter with everything imported is
added.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from tokenizer import machine  # the benchmark beside this one

from cosmos_lidar.parallel.mesh import mesh_sizes
from cosmos_lidar.recipes import dit, lidar_tokenizer
from cosmos_lidar.training.overrides import apply_overrides
from cosmos_lidar.training.preflight.prediction import predict
from cosmos_lidar.training.run_log import read_metrics

ROOT = Path(__file__).resolve().parents[1]
FEW = (
    "trainer.max_steps=2 trainer.val_at_start=false trainer.val_every=0 trainer.val_batches=1 trainer.save_every=0 "
    "trainer.export=false trainer.tight_memory=true log.tensorboard=false"
).split()
DIT = "model.name=faditv2_60m data.text_shape=[32,1024] data.latent_shape=[16,2,32,64] data.batch_size=1".split()
TOKENIZER = ["model.channels=128", "data.batch_size=24", "data.crop_columns=128"]
CASES: dict[str, tuple[ModuleType, int, list[str]]] = {
    "lidar tokenizer": (lidar_tokenizer, 1, TOKENIZER),
    "transformer": (dit, 1, DIT),
    "transformer, recompute full": (dit, 1, [*DIT, "parallel.recompute=full"]),
    "transformer, data_shard 2, bf16": (dit, 2, [*DIT, "parallel.data_shard=2", "trainer.precision=bf16"]),
    "transformer, context 2, recompute full": (dit, 2, [*DIT, "parallel.context=2", "parallel.recompute=full"]),
    "lidar tokenizer, context 2": (lidar_tokenizer, 2, [*TOKENIZER, "parallel.context=2"]),
}  # fmt: skip
BASE = """
from cosmos_lidar.training import engine
from cosmos_lidar.training.preflight import doctor
import torch.distributed.fsdp
print(doctor.base_memory())
"""


def measured_gb(family: ModuleType, processes: int, options: list[str], root: Path) -> float:
    """Return the peak resident memory of the largest rank of a run, GB."""
    name = family.__name__.rpartition(".")[2]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    program = [str(ROOT / "recipes" / f"{name}.py"), "recipe=debug", f"log.root={root}", *FEW, *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *launcher, *program], env=environment, capture_output=True, check=True)
    rows = read_metrics(next(root.rglob("metrics.csv")))
    return max(float(row["memory_gb"]) for row in rows if row["memory_gb"])


def main() -> None:
    """Measure and print."""
    base = int(subprocess.run([sys.executable, "-c", BASE], capture_output=True, text=True, check=True).stdout) / 1e9
    out = sys.stdout.write
    out(f"{machine('cpu')}; interpreter {base:.2f} GB\n\n")
    out("| run | predicted GB | measured GB | ratio |\n|---|---|---|---|\n")
    for title, (family, processes, options) in CASES.items():
        run = apply_overrides(family.debug(), [*FEW, *options])
        sizes = run.parallel.data_replicate, run.parallel.data_shard, run.parallel.context, run.parallel.tensor
        predicted = base + predict(run, family.FAMILY, mesh_sizes(*sizes, processes)).peak / 1e9
        with tempfile.TemporaryDirectory() as root:
            found = measured_gb(family, processes, options, Path(root))
        out(f"| {title} | {predicted:.2f} | {found:.2f} | {predicted / found:.2f} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
