from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from cosmos_lidar.training.checkpoint.manifest import checkpoint_path, checkpoint_step
from cosmos_lidar.training.checkpoint.reading import load_full, load_state
from cosmos_lidar.training.checkpoint.store import CheckpointStore


def some_tensors(step: int = 0) -> dict[str, Tensor]:
    """Tensors of every kind, all of them a function of the step."""
    generator = torch.Generator().manual_seed(step)
    matrix = torch.randn(9, 4, generator=generator)
    return {
        "model.matrix": matrix,
        "model.turned": matrix.T,
        "model.half": matrix.bfloat16(),
        "model.count": torch.tensor(step),
        "optimizer.step": torch.tensor(float(step)),
        "optimizer.mask": matrix > 0,
        "model.nothing": torch.empty(0, 3),
        "model.long": torch.full((1000,), step, dtype=torch.int64),
    }


def save(store: CheckpointStore, step: int, **metrics: float) -> Path:
    texts = {"config.yaml": f"step: {step}\n"}
    store.save(step, some_tensors(step), {"step": step, "list": [1, "two"]}, texts, metrics)
    outcome = store.wait()
    assert outcome.error is None, outcome.error
    assert outcome.path == checkpoint_path(store.folder, step)
    assert outcome.bytes > 0
    return outcome.path


def assert_content(path: Path) -> None:
    step = checkpoint_step(path)
    for name, tensor in some_tensors(step).items():
        found = load_full(path)[name]
        assert found.dtype == tensor.dtype
        assert torch.equal(found, tensor), name
    assert load_state(path)["step"] == step
