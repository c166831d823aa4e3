"""Exports of trained weights as files; the ``job`` module of each family writes its own.

``export_weights(weights, average, folder, step) -> [files]`` of a family is given all weights by name, whole and on the
CPU, and those of the EMA (empty without one).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from torch import Tensor

from cosmos_lidar.errors import DataError
from cosmos_lidar.files import atomic_write, read_tensors
from cosmos_lidar.models.dit.lora import has_lora
from cosmos_lidar.models.tokenizer.export import PREFIX, export_weights
from cosmos_lidar.parallel.ranks import is_first
from cosmos_lidar.training.checkpoint.callback import frozen_norm, trained_state
from cosmos_lidar.training.checkpoint.full_tensors import full_tensors
from cosmos_lidar.training.checkpoint.manifest import verify
from cosmos_lidar.training.checkpoint.reading import load_full, load_state
from cosmos_lidar.training.ema import Ema
from cosmos_lidar.training.family import Family
from cosmos_lidar.training.model import TrainedModel
from cosmos_lidar.training.overrides import read_key

ExportWeights = Callable[[dict[str, Tensor], dict[str, Tensor], Path, int], list[Path]]


def export_trained(export: ExportWeights, model: TrainedModel, ema: Ema | None, folder: Path, step: int) -> None:
    """Gather the full weights of a model in training on rank 0 and export them. Collective: call on all ranks.

    Of a network with low-rank updates whose checkpoints hold trained parameters only, these alone are exported.

    Args:
        export: ``export_weights`` of the family.
        model: in training, sharded or not.
        ema: its EMA, or None.
        folder: for the files.
        step: of the training.
    """
    adapters_only = model.run.trainer.checkpoint_trained_only and has_lora(model.network)
    weights = full_tensors(trained_state(model.network) if adapters_only else model.network.state_dict())
    average = full_tensors(ema.average) if ema is not None else {}
    if is_first():
        export(weights, average, folder, step)


def export_checkpoint(checkpoint: Path, folder: Path, find_family: Callable[[str], Family[Any]]) -> list[Path]:
    """Export the weights of a checkpoint (a folder ``iter_N``) or of a tokenizer's file of weights (``.pt``).

    Args:
        checkpoint: the folder or file.
        folder: for the files; made when absent.
        find_family: returns the family of a name, see :func:`cosmos_lidar.recipes.registry.find_family`.

    Returns:
        The files; the configuration among them where the checkpoint holds it.

    Raises:
        DataError: no checkpoint of this program, or a damaged one.
        UserError: the family of the checkpoint is unknown here.
    """
    if not checkpoint.is_dir():
        weights, step = _read_weights(checkpoint)
        return export_weights(weights, {}, folder, step)
    found = read_checkpoint(checkpoint, find_family)
    folder.mkdir(parents=True, exist_ok=True)
    paths = found.family.export_weights(found.weights, found.average, folder, found.step)
    with atomic_write(folder / "config.yaml", sync=True) as partial:
        partial.write_text((checkpoint / "config.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return [*paths, folder / "config.yaml"]


class CheckpointWeights(NamedTuple):
    """Weights of a checkpoint folder by name, unsharded, on the CPU; ``average`` is empty without EMA."""

    family: Family[Any]
    weights: dict[str, Tensor]
    average: dict[str, Tensor]
    step: int


def read_checkpoint(checkpoint: Path, find_family: Callable[[str], Family[Any]]) -> CheckpointWeights:
    """Return the weights of a checkpoint folder ``iter_N``, frozen ones that it leaves out among them.

    Args:
        checkpoint: the folder.
        find_family: returns the family of a name.

    Raises:
        DataError: a damaged checkpoint.
        UserError: its family is unknown here.
    """
    manifest = verify(checkpoint)
    configuration = checkpoint / "config.yaml"
    family = find_family(str(read_key(configuration, "family")))
    state, average = load_full(checkpoint, "model."), load_full(checkpoint, "ema.")
    norm = load_state(checkpoint).get("frozen_norm")
    if norm is not None:
        state = _frozen_weights(family, configuration, norm) | state
    return CheckpointWeights(family, state, average, int(manifest["step"]))


def export_nemo(checkpoint: Path, folder: Path, find_family: Callable[[str], Family[Any]]) -> Path:
    """Write ``iter_N.nemo`` of a checkpoint folder: its options and weights, those of the EMA where it has one.

    Args:
        checkpoint: folder ``iter_N`` of a run.
        folder: for the file; made when absent.
        find_family: returns the family of a name.

    Raises:
        DataError: no checkpoint folder, or a damaged one.
        UserError: the family of the checkpoint is unknown here.
    """
    from cosmos_lidar.training.nemo_file import write_model

    if not checkpoint.is_dir():
        raise DataError("no checkpoint folder", file=checkpoint, wanted="a folder iter_N of a run")
    step = int(verify(checkpoint)["step"])
    configuration = checkpoint / "config.yaml"
    family = find_family(str(read_key(configuration, "family")))
    kind = get_type_hints(importlib.import_module(family.job).make_dry_model)["return"]
    weights = load_full(checkpoint, "model.") | load_full(checkpoint, "ema.")
    path = folder / f"iter_{step:09d}.nemo"
    write_model(path, f"{kind.__module__}.{kind.__name__}", family.load(configuration), weights)
    return path


def _frozen_weights(family: Family[Any], configuration: Path, norm: float) -> dict[str, Tensor]:
    """Return the weights that a run started from, for a checkpoint that holds its trained parameters only."""
    network = family.make_network(family.load(configuration))
    found = frozen_norm(network)
    if not math.isclose(found, norm, rel_tol=1e-5):
        raise DataError(
            f"the frozen weights of the checkpoint have norm {norm:.6g}, those found {found:.6g}", file=configuration,
            key="model.checkpoint", wanted="the weights that the run started from",
        )  # fmt: skip
    return network.state_dict()


def _read_weights(path: Path) -> tuple[dict[str, Tensor], int]:
    wanted = "a folder iter_N of a run, or iter_N.pt"
    content = read_tensors(path, wanted)
    weights, step = (content.get("model"), content.get("iteration")) if isinstance(content, dict) else (None, None)
    if not isinstance(weights, dict) or not isinstance(step, int):
        raise DataError("no weights in it", file=path, key="model", wanted=wanted)
    return {name.removeprefix(PREFIX): value for name, value in weights.items()}, step
