"""Networks of all families from checkpoints of every kind: runs, model folders, Diffusers' folders, published files."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.files import read_yaml
from cosmos_lidar.models.diffusers import CLASSES, from_diffusers
from cosmos_lidar.models.diffusers_folder import MOST_BLOCKS, class_in
from cosmos_lidar.models.dit import GeneralDiT, build_dit, find_shape, shape_names
from cosmos_lidar.models.dit.lora import merge_state
from cosmos_lidar.models.dit.predict2 import Predict2Config, Predict2DiT
from cosmos_lidar.models.dit.weights import load_dit_weights, read_dit_tensors
from cosmos_lidar.models.sharded_safetensors import index_in, is_index
from cosmos_lidar.models.sparse import load_backbone
from cosmos_lidar.models.sparse.backbone import Backbone
from cosmos_lidar.models.tokenizer import Tokenizer, TokenizerConfig, load_tokenizer
from cosmos_lidar.models.tokenizer.checkpoint import is_torchscript
from cosmos_lidar.models.tokenizer.export import network_of
from cosmos_lidar.models.wan_vae import CONFIGS as VAES
from cosmos_lidar.models.wan_vae import WanVAE, load_vae
from cosmos_lidar.models.wrapped_weights import unwrap
from cosmos_lidar.weights import CONFIG, FILE, config_of

FAMILIES = ("lidar_tokenizer", "video_tokenizer", "dit", "lidargen", "multiview", "also")
_TOKENIZERS, _TRANSFORMERS = FAMILIES[:2], FAMILIES[2:5]
_FOLDERS = {"also_pretrain": "also", "also_semseg": "also"}  # recipes whose family has another name
_WANTED = "a checkpoint iter_N of a run, a folder of push or Diffusers, or a published file of weights"
_MOST_CHANNELS = 1 << 18
_NORMS = {"t_embedding_norm.weight": Predict2DiT, "affline_norm.weight": GeneralDiT}  # a name of each transformer alone


@dataclass(frozen=True)
class OpenedModel:
    """A network with what is known of it.

    Attributes:
        network: in eval mode, in float32, on the CPU.
        family: one of :data:`FAMILIES`.
        options: of the training run, as in its ``config.yaml``; empty where there was none.
        step: of the training; 0 where unknown.
        license: of the weights, where it is known.
        dtype: of the stored weights, where it is known.
    """

    network: nn.Module
    family: str
    options: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    license: str = ""
    dtype: str = ""


def open_model(path: str | Path, shape: str = "") -> OpenedModel:
    """Return the network of a checkpoint; of one with EMA weights, the network with these.

    Args:
        path: folder ``iter_N`` of a run; a folder with ``model.safetensors`` and ``config.json``; a folder of
            Diffusers; a published file or folder of weights.
        shape: name of a diffusion transformer's shape, where a file of weights does not determine it.

    Raises:
        DataError: no such checkpoint, or a damaged one.
        UserError: an unknown family or shape.
    """
    place = Path(path)
    if not place.exists():
        raise DataError("no such file or folder", file=place, wanted=_WANTED)
    if class_in(place) in CLASSES:
        return _of_network(from_diffusers(place))
    folder = place if place.is_dir() else place.parent
    if place.is_dir() or place.name == FILE:
        config = config_of(folder) if _is_own(folder) else {}
        if config:
            return _of_folder(folder, config)
    if place.is_dir() and (place / "config.yaml").is_file():
        return _of_run(place)
    return _of_file(place, shape)


def _is_own(folder: Path) -> bool:
    return (folder / FILE).is_file() and (folder / CONFIG).is_file()


def _of_network(network: nn.Module) -> OpenedModel:
    """Return a network with the family whose recipes train such ones."""
    network = network.float().eval()
    if isinstance(network, Tokenizer):
        lidar = isinstance(network.config, TokenizerConfig) and network.config.family == "CI"
        return OpenedModel(network, "lidar_tokenizer" if lidar else "video_tokenizer")
    if isinstance(network, Backbone):
        return OpenedModel(network, "also")
    views = isinstance(network, WanVAE) or getattr(network.config, "concat_view_embedding", False)
    if isinstance(network, GeneralDiT) and network.config.n_views > 1:
        return OpenedModel(network, "lidargen")
    return OpenedModel(network, "multiview" if views else "dit")


def _of_folder(folder: Path, config: Mapping[str, Any]) -> OpenedModel:
    """Open ``model.safetensors`` as its ``config.json`` describes it."""
    family, options, file = config["family"], config.get("run") or {}, folder / FILE
    where: dict[str, Any] = {"file": folder / CONFIG}
    if family not in FAMILIES:
        raise DataError(f"{family!r:.60}", **where, key="family", wanted=", ".join(FAMILIES))
    shape = config.get("network") or {}
    if not isinstance(options, dict) or not isinstance(shape, dict):
        raise DataError("no mapping", **where, key="run, network", wanted="mappings of names to values")
    network: nn.Module
    if family in _TOKENIZERS:
        network = load_tokenizer(file)
    elif family == "also":
        network = load_backbone(file)
    elif shape.get("name") in VAES:
        network = load_vae(file, shape.get("dim"))
    else:
        network = _transformer(folder / CONFIG, shape, options)
        load_dit_weights(network, file)
    return OpenedModel(network.float().eval(), family, options, _step_of(options), config["license"], config["dtype"])


def _transformer(file: Path, shape: Mapping[str, Any], options: Mapping[str, Any]) -> nn.Module:
    """Return the transformer of a shape that is named, with its fields, or of the options of a run, without weights."""
    if not shape and not options:
        raise DataError("neither network nor run", file=file, key="network", wanted="the shape of the transformer")
    try:
        with torch.device("meta"):
            if not shape:
                return _built(*_family_and_run(file, str(options.get("family", ""))))
            name, fields = shape.get("name"), {key: value for key, value in shape.items() if key != "name"}
            _check_numbers(file, fields)
            return build_dit(str(name), **fields)
    except (TypeError, ValueError, ZeroDivisionError, RuntimeError) as error:
        raise DataError(f"no shape: {error}", file=file, key="network", wanted="fields of a transformer") from error


def _check_numbers(file: Path, fields: Mapping[str, Any]) -> None:
    """Refuse numbers that no transformer has: layers are made before weights are compared."""
    for key, value in fields.items():
        most = MOST_BLOCKS if key == "num_blocks" else _MOST_CHANNELS
        if isinstance(value, (int, float)) and not 0 <= value <= most:
            raise DataError(f"{value}", file=file, key=f"network.{key}", wanted=f"0 to {most}")


def _family_and_run(file: Path, name: str) -> tuple[str, Any]:
    """Return folder of the family, and configuration, of the options in a file.

    Raises:
        DataError: no family of this package: a file of options is not to name a recipe file, which would be run.
    """
    from cosmos_lidar.recipes.registry import find_family

    if name not in (*FAMILIES, *_FOLDERS):
        raise DataError(f"{name!r:.80}", file=file, key="family", wanted=", ".join((*FAMILIES[:-1], *_FOLDERS)))
    family = find_family(name)
    return _FOLDERS.get(family.name, family.name), family.load(file)


def _built(family: str, run: Any) -> nn.Module:
    """Return the transformer of a run's options."""
    if family not in _TRANSFORMERS:
        raise UserError(f"a run of {family}: expected one of {', '.join(_TRANSFORMERS)}")
    shape = run.shape() if hasattr(run, "shape") else run.model.shape()
    return build_dit(run.model.name, **shape)


def _of_run(checkpoint: Path) -> OpenedModel:
    """Open the weights of a checkpoint folder of a run."""
    from cosmos_lidar.families.export import read_checkpoint
    from cosmos_lidar.recipes.registry import find_family

    options = read_yaml(checkpoint / "config.yaml", "the options of a run")
    family, run = _family_and_run(checkpoint / "config.yaml", str(options.get("family", "")))
    found = read_checkpoint(checkpoint, find_family)
    state = found.weights | found.average
    network: nn.Module
    if family in _TOKENIZERS:
        network = network_of(state, found.step)
    elif family == "also":
        network = _backbone(state, head=found.family.name == "also_semseg")
    else:
        with torch.device("meta"):
            network = _built(family, run)
        network.load_state_dict(merge_state(state), assign=True)
    return OpenedModel(network.float().eval(), family, options, found.step)


def _backbone(state: Mapping[str, Tensor], head: bool) -> nn.Module:
    """Return the backbone in the weights of a training, with its last layer where that is no part of a pretext task."""
    from safetensors.torch import save_file

    tensors = {
        name.removeprefix("backbone."): value.contiguous()
        for name, value in state.items()
        if name.startswith("backbone.") and (head or not name.startswith("backbone.classifier."))
    }
    with tempfile.TemporaryDirectory() as folder:
        save_file(tensors, Path(folder) / FILE)
        return load_backbone(Path(folder) / FILE)


def _of_file(path: Path, shape: str) -> OpenedModel:
    """Open weights by the names of their tensors."""
    torchscript = path.suffix == ".jit" or is_torchscript(path)
    if torchscript or (path.is_dir() and index_in(path) is None):
        return _of_network(load_tokenizer(path))
    tensors, _ = read_dit_tensors(path, _WANTED)
    names = unwrap(tensors, path)
    for norm, kind in _NORMS.items():
        if norm in names:
            network = _shaped(kind, names, path, shape)
            load_dit_weights(network, path)
            return _of_network(network)
    if "encoder.conv1.weight" in names or any(name.startswith("decoder.up_blocks.0.resnets.") for name in names):
        return _of_network(load_vae(path))
    if any(name.startswith("encoder.conv_in.") for name in names) or is_index(path):
        return _of_network(load_tokenizer(path))
    return _of_network(load_backbone(path))


def _shaped(kind: type[nn.Module], state: Mapping[str, Tensor], path: Path, shape: str) -> nn.Module:
    """Return the transformer, without weights, whose tensors have these names and shapes."""
    with torch.device("meta"):
        if shape:
            return build_dit(shape)
        for name in shape_names():
            config = find_shape(name)
            width = len(state[next(norm for norm in _NORMS if norm in state)])
            if config.model_channels != width or isinstance(config, Predict2Config) != (kind is Predict2DiT):
                continue
            network = build_dit(name)
            if all(key in state and state[key].shape == own.shape for key, own in network.state_dict().items()):
                return network
    raise UserError(f"{path}: a transformer of no published shape; --network names one: {', '.join(shape_names())}")


def _step_of(options: Mapping[str, Any]) -> int:
    trainer = options.get("trainer")
    steps = trainer.get("max_steps") if isinstance(trainer, dict) else 0
    return steps if isinstance(steps, int) else 0
