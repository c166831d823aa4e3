"""What the programs that train the small models share: seeds of drives, runs and their cost, folders of the catalog.

Drives that are trained on have seeds from 1000 on, those that numbers are measured on seeds from 0 on.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from tokenizer import machine  # noqa: E402

from cosmos_lidar.files import write_json  # noqa: E402
from cosmos_lidar.shards.files import write_text  # noqa: E402
from cosmos_lidar.training.config import TrainConfig  # noqa: E402
from cosmos_lidar.training.engine import RunResult  # noqa: E402
from cosmos_lidar.training.metrics_file import read_metrics  # noqa: E402

LICENSE = "Apache-2.0"
_COST = "cost.json"
_FIRST_TRAINED = 1000


def train_seeds(count: int) -> range:
    """Return the seeds of the drives to train on."""
    return range(_FIRST_TRAINED, _FIRST_TRAINED + count)


def held_out_seeds(count: int) -> range:
    """Return the seeds of the drives that numbers are measured on."""
    return range(min(count, _FIRST_TRAINED))


@dataclass(frozen=True)
class Cost:
    """What a training took.

    Attributes:
        cpu_s: processor seconds, of all calls that ended.
        machine: processor, threads, version of torch.
        commit: of the code at the first call; with a plus where files were changed.
        date: of the last call.
    """

    cpu_s: float
    machine: str
    commit: str
    date: str


def read_cost(folder: Path) -> Cost | None:
    """Return what the training in ``folder`` has taken so far; None before its first call has ended."""
    path = folder / _COST
    return Cost(**json.loads(path.read_text())) if path.is_file() else None


def add_cost(folder: Path, cpu_s: float, commit: str) -> Cost:
    """Add the processor seconds of one call to what a training took, and return that.

    Args:
        folder: of the training.
        cpu_s: of this call.
        commit: of the code when this call began; that of the first call stays.
    """
    before = read_cost(folder)
    total, commit = (cpu_s + before.cpu_s, before.commit) if before else (cpu_s, commit)
    cost = Cost(round(total, 1), machine("cpu"), commit, time.strftime("%Y-%m-%d"))
    write_json(folder / _COST, asdict(cost))
    return cost


def arrays_of_drives(files: Mapping[int, Path], make: Callable[[int], None], jobs: int) -> dict[int, np.ndarray]:
    """Return the arrays of drives by seed; those whose file is there are not made again.

    Args:
        files: by seed.
        make: writes the file of a seed; may run in another process.
        jobs: processes.
    """
    missing = [seed for seed, file in files.items() if not file.is_file()]
    if jobs == 1:
        for seed in missing:
            make(seed)
    else:
        with ProcessPoolExecutor(jobs) as pool:
            for _ in pool.map(make, missing):
                pass
    return {seed: np.load(file, allow_pickle=False) for seed, file in files.items()}


def current_commit() -> str:
    """Return the commit of this checkout, with a plus where files were changed since."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")


@dataclass(frozen=True)
class Result:
    """A run of a recipe that has ended."""

    folder: Path
    step: int
    run: TrainConfig[Any, Any]
    cost: Cost

    def export(self, ending: str) -> Path:
        """Return the file ``iter_N_ENDING`` of the last step."""
        return self.folder / "checkpoints" / f"iter_{self.step:09d}_{ending}"

    def last(self, prefix: str) -> dict[str, float]:
        """Return the last value of each column of ``metrics.csv`` that begins with ``prefix``."""
        found: dict[str, float] = {}
        for row in read_metrics(self.folder / "metrics.csv"):
            found |= {name: float(value) for name, value in row.items() if name.startswith(prefix) and value}
        return found

    @property
    def minutes(self) -> str:
        """What it took, for a card."""
        return f"{self.cost.cpu_s / 60:.1f} minutes of one core"


def finished(train: Callable[[Any], RunResult], run: TrainConfig[Any, Any]) -> Result:
    """Run a recipe to its end, and add what it took to what earlier calls took.

    Ends the program where a signal has ended the run early.
    """
    started, commit = time.process_time(), current_commit()
    result = train(run)
    cost = add_cost(result.folder, time.process_time() - started, commit)
    if result.signal:
        sys.exit(result.exit_status)
    return Result(result.folder, result.step, run, cost)


def command(arguments: Sequence[str]) -> None:
    """Run a command of ``cosmos-lidar``; ends the program where it fails."""
    from cosmos_lidar.cli import main

    status = main(list(arguments))
    if status:
        sys.exit(status)


def parameters(state: Mapping[str, Tensor]) -> int:
    """Return how many numbers weights are."""
    return sum(tensor.numel() for tensor in state.values())


def halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights in fp16, as they are published; integers stay."""
    return {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous() for name, tensor in state.items()
    }


def write_weights(folder: Path, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Write ``model.safetensors`` in fp16 and ``config.json`` of a model of the catalog.

    Args:
        folder: of the model.
        state: weights by their published names.
        config: family, and what it needs to build the network.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = halved(state)
    if not all(torch.isfinite(tensor.float()).all() for tensor in tensors.values()):
        raise ValueError(f"{folder.name}: weights that fp16 does not hold")
    save_file(tensors, folder / "model.safetensors")
    write_json(folder / "config.json", {"dtype": "float16", "license": LICENSE, **config})


def own_options(run: TrainConfig[Any, Any]) -> dict[str, Any]:
    """Return the options of a run that are not the family's defaults, without the places of files."""
    values, usual = (yaml.safe_load(yaml.safe_dump(asdict(one))) for one in (run, type(run)()))
    found = _differences({key: values[key] for key in ("model", "data", "optim")}, usual)
    for part, names in {"model": ("checkpoint", "checkpoint_dir"), "data": ("path", "workers", "vae")}.items():
        for name in names:
            found.get(part, {}).pop(name, None)
    trainer = {key: values["trainer"][key] for key in ("max_steps", "seed")}
    return {"family": values["family"], "recipe": values["recipe"], **found, "trainer": trainer}


def _differences(values: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        other = usual.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            if inner := _differences(value, other):
                found[key] = inner
        elif value != other:
            found[key] = value
    return found


@dataclass(frozen=True)
class Card:
    """Sections of a model card.

    Attributes:
        what: the network, and the command that uses it.
        data: drives with their seeds.
        training: steps, time, seeds.
        program: that made the model, and its folder, such as ``benchmarks/small_models/sparse.py sparse``.
        metrics: names and values, measured with the published weights on drives that were not trained on.
        limits: what it cannot do.
    """

    what: str
    data: str
    training: str
    program: str
    metrics: Sequence[tuple[str, str]]
    limits: str


def write_card(folder: Path, card: Card, cost: Cost, parameters: int) -> None:
    """Write the model card ``README.md``."""
    rows = "".join(f"| {name} | {value} |\n" for name, value in card.metrics)
    text = f"""---
license: {LICENSE.lower()}
library_name: cosmos_lidar
tags: [lidar, autonomous-driving, synthetic-data]
---

# {folder.name}

{card.what}

`cosmos_lidar/{folder.name}`: {parameters:,} parameters, stored in fp16.

## Data

{card.data}

## Training

{card.training} By `{card.program.split()[0]}` on a CPU ({cost.machine}), {cost.date}, commit {cost.commit}:

```
OMP_NUM_THREADS=1 python {card.program} --out cosmos_lidar/weights
```

## Metrics

Measured with these weights, computed in fp32, on the held-out drives.

| metric | value |
|---|--:|
{rows}
## License

{LICENSE}

## Limits

{card.limits}
"""
    write_text(folder / "README.md", text)
