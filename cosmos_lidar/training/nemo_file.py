"""NeMo's ``save_to`` and ``restore_from``: a trained model as one ``.nemo`` file, read without running pickles."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import torch
import yaml
from nemo.core.connectors.save_restore_connector import SaveRestoreConnector
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from cosmos_lidar.errors import DataError
from cosmos_lidar.files import atomic_write, read_nemo, write_nemo
from cosmos_lidar.parallel.ranks import is_first
from cosmos_lidar.training.checkpoint.full_tensors import full_tensors
from cosmos_lidar.training.overrides import load_config, to_yaml, without_interpolation

if TYPE_CHECKING:
    from cosmos_lidar.training.model import TrainedModel

_OURS = re.compile(r"cosmos_lidar\.[a-z_]+\.[a-z0-9_]+\.model\.[A-Za-z0-9]+")


class NemoFile(SaveRestoreConnector):
    """Connector that writes the options of a run and the weights of its network, and builds the model from them.

    ``ModelPT.restore_from(path, save_restore_connector=NemoFile())`` works as the class's own ``restore_from``.
    """

    def save_to(self, model: TrainedModel, save_path: str) -> None:
        """Write a ``.nemo`` file. Collective: sharded weights are gathered on rank 0, which writes."""
        weights = full_tensors(model.network.state_dict())
        if is_first():
            write_model(Path(save_path), f"{type(model).__module__}.{type(model).__name__}", model.run, weights)

    def restore_from(
        self,
        calling_cls: type,
        restore_path: str,
        override_config_path: Any = None,
        map_location: torch.device | None = None,
        strict: bool = True,
        return_config: bool = False,
        trainer: Any = None,
        validate_access_integrity: bool = True,
    ) -> Any:
        """Return the model of a ``.nemo`` file, with the saved weights; no training data is needed.

        Args:
            calling_cls: its class, or one above it.
            restore_path: of the file.
            override_config_path: YAML file, or configuration, that replaces the one in the file.
            map_location: device of the model; by default a GPU where there is one.
            strict: refuse missing or further weights.
            return_config: return the configuration instead.
            trainer: handed to the model.
            validate_access_integrity: accepted for NeMo; not used.

        Raises:
            DataError: no such file, one that is not safe to read, or of another class.
        """
        path = Path(restore_path)
        config: Any
        config, weights = read_nemo(path)
        if override_config_path is not None:
            given = override_config_path
            config = OmegaConf.to_container(given if isinstance(given, DictConfig) else OmegaConf.load(given))
        if return_config:
            return OmegaConf.create(without_interpolation(config))
        model = _build(_model_class(str(config.get("target")), calling_cls, path), config, path)
        model.network.load_state_dict(weights, strict=strict)
        if trainer is not None:
            model.set_trainer(trainer)
        default = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return model.to(default if map_location is None else map_location).eval()


def write_model(path: Path, target: str, run: Any, weights: dict[str, Tensor]) -> None:
    """Write a ``.nemo`` file of a model's class, its options and its weights on the CPU."""
    options = yaml.safe_load(to_yaml(run))
    write_nemo(path, yaml.safe_dump({"target": target, "run": options}, sort_keys=False), weights)


def _model_class(target: str, calling_cls: type, path: Path) -> type[TrainedModel]:
    """Return the class that a file names: the calling one, or one of this package below it."""
    from cosmos_lidar.training.model import TrainedModel

    if issubclass(calling_cls, TrainedModel) and target == f"{calling_cls.__module__}.{calling_cls.__name__}":
        return calling_cls
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None) if _OURS.fullmatch(target) else None
    except ImportError:
        found = None
    if not (isinstance(found, type) and issubclass(found, TrainedModel) and issubclass(found, calling_cls)):
        raise DataError(f"target {target!r}", file=path, key="target", wanted=f"a model of this package, {calling_cls}")
    return found


def _build(kind: type[TrainedModel], config: dict[str, Any], path: Path) -> TrainedModel:
    """Return the model with random weights, by ``make_dry_model`` of the ``job`` module beside the model's."""
    import tempfile

    job = importlib.import_module(f"{kind.__module__.rpartition('.')[0]}.job")
    with tempfile.TemporaryDirectory() as folder:
        options = Path(folder) / path.with_suffix(".yaml").name  # its name is in the errors
        with atomic_write(options) as partial:
            partial.write_text(yaml.safe_dump(config.get("run") or {}, sort_keys=False), encoding="utf-8")
        run = load_config(get_type_hints(job.make_dry_model)["run"], options)
    return job.make_dry_model(run)
