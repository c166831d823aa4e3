"""Run folders in the layout that training writes, made of a few small files."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from cosmos_lidar.training.metrics_file import MetricsFile
from cosmos_lidar.training.owner import FOLDER, Owner

ENDED = Owner(
    token="1", host="gpu12", process=4711, ranks=4, started="2026-11-28 22:10:00", machine="another boot",
    begun=True, ended=True, device="NVIDIA H200",
)  # fmt: skip
KILLED = replace(ENDED, ended=False)
COLUMNS = ("step", "loss", "lr", "data_s", "compute_s", "optimizer_s", "save_s", "val/loss", "val/psnr")
Row = tuple[int, float | None, float | None, float | None]  # step, loss, val/loss, val/psnr
ROWS: Sequence[Row] = ((0, None, 3.0, 8.0), (10, 2.0, None, None), (20, 1.5, 1.0, 12.0), (30, 1.0, 1.2, 11.0))


def write_run(
    folder: Path,
    rows: Sequence[Row] = ROWS,
    saved: Sequence[int] = (30,),
    owner: Owner | None = ENDED,
    age_s: float = 3600.0,
    **options: Any,
) -> Path:
    """Write a run folder; ``options`` are added to its config.yaml by keys with two underscores for a dot."""
    folder.mkdir(parents=True)
    config: dict[str, Any] = {
        "family": "dit", "recipe": "debug", "model": {"name": "small"}, "data": {"path": "latents"},
        "optim": {"lr": 0.001, "betas": [0.9, 0.99]},
        "trainer": {"max_steps": 30, "best_metric": "val/loss", "accelerator": "auto"}, "log": {"name": folder.name},
    }  # fmt: skip
    for key, value in options.items():
        part, _, name = key.partition("__")
        config[part] = {**config[part], name: value} if name else value
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    log = MetricsFile(folder / "metrics.csv", COLUMNS)
    log.drop_after(0)
    for step, loss, val_loss, psnr in rows:
        times = {"data_s": 0.5, "compute_s": 1.0, "optimizer_s": 0.25, "save_s": 0.25} if loss is not None else {}
        values = {"loss": loss, "val/loss": val_loss, "val/psnr": psnr}
        log.append({"step": step, **times, **{name: one for name, one in values.items() if one is not None}})
    for step in saved:
        write_checkpoint(folder / "checkpoints" / f"iter_{step:09d}", step)
    if owner is not None:
        (folder / FOLDER).mkdir()
        record = folder / FOLDER / "000002.json"
        record.write_text(json.dumps(asdict(owner)) + "\n")
        then = time.time() - age_s
        os.utime(record, (then, then))
    return folder


def write_checkpoint(folder: Path, step: int) -> None:
    """Write what of a checkpoint is read here: the manifest and its checksum."""
    folder.mkdir(parents=True)
    text = json.dumps({"version": 1, "step": step, "processes": 2, "files": {}}) + "\n"
    (folder / "manifest.json").write_text(text)
    (folder / "manifest.sha256").write_text(hashlib.sha256(text.encode()).hexdigest() + "\n")


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Return :func:`write_run` for folders below the test's own, by name."""
    return lambda name, **options: write_run(tmp_path / "runs" / name, **options)
