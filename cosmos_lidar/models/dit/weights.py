"""Loading of diffusion-transformer weights from files of the published trainer or of this project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from cosmos_lidar.errors import DataError
from cosmos_lidar.log import logger
from cosmos_lidar.models.diffusers_folder import class_in
from cosmos_lidar.models.dit.lora import is_adapter_tensor
from cosmos_lidar.models.dit.predict2 import Predict2DiT
from cosmos_lidar.models.dit.predict2.buffers import PREFIXES as BESIDE
from cosmos_lidar.models.dit.predict2.diffusers import CLASS, check_same_network, read_diffusers
from cosmos_lidar.models.sharded_safetensors import files_of_index, index_in, is_index
from cosmos_lidar.models.stored_weights import StoredWeights
from cosmos_lidar.models.weight_kinds import DIT, PREDICT2, other_kind
from cosmos_lidar.models.wrapped_weights import read_named_weights, split_ema, unwrap


def load_dit_weights(network: nn.Module, path: Path, ema: bool = False) -> None:
    """Fill a network from ``model.pt``, ``iter_N_ema_model.pt`` or safetensors; ``net.`` may precede names.

    A folder of Diffusers' ``CosmosTransformer3DModel`` fills a single-view network of Predict2. Sharded safetensors are
    given by their ``….safetensors.index.json`` or its folder. Of a checkpoint that holds both (``net.`` and
    ``net_ema.``) the weights are taken, with ``ema`` the EMA weights.

    A network on the ``meta`` device takes the tensors of the file without being initialized first: 7 B
    parameters in fp32 are 29 GB. What published files hold beside the network (``logvar``, which training alone needs,
    counters, tables of positions, and ``_extra_state``, which TransformerEngine leaves behind) is ignored.

    Raises:
        DataError: no readable file, or the weights of another network; nothing is changed then.
    """
    network.load_state_dict(_checked_state(network, path, ema)[0], assign=next(network.parameters()).is_meta)


def open_dit_weights(network: nn.Module, path: Path, ema: bool = False) -> StoredWeights:
    """Open the same files for reading tensor by tensor, memory-mapped, after comparing all names and shapes.

    Args:
        network: on any device; it is not changed.
        path: of the file.
        ema: take the EMA weights of a checkpoint that holds both.

    Raises:
        DataError: no readable file, or the weights of another network.
    """
    return StoredWeights(*_checked_state(network, path, ema))


def read_dit_tensors(path: Path, wanted: str, ema: bool = False) -> tuple[dict[str, Tensor], list[Path]]:
    """Return the tensors of the same files by their names there, memory-mapped, and the files.

    Of a checkpoint that holds weights and EMA weights, one of both is returned.

    Args:
        path: of the file, the index or the folder.
        wanted: what the caller expects, for error messages.
        ema: take the EMA weights.

    Raises:
        DataError: no readable file, or no EMA weights in it.
    """
    files = _files(path, wanted)
    plain, averaged = split_ema(_read(files, wanted))
    if ema and not averaged:
        raise DataError("holds no EMA weights", file=path, wanted=f"{wanted}, with net_ema. before their names")
    return averaged if ema else plain or averaged, files


def _checked_state(network: nn.Module, path: Path, ema: bool) -> tuple[dict[str, Tensor], list[Path]]:
    """Return the tensors of a network's names and shapes, and the files that they are in."""
    wanted = f"the weights of a {type(network).__name__} of the same shape"
    if class_in(path) == CLASS and isinstance(network, Predict2DiT):
        config, tensors, files = read_diffusers(path)
        check_same_network(network.config, config, path)
    else:
        tensors, files = read_dit_tensors(path, wanted, ema)
    named = [name for name in tensors if "logvar." not in name and not name.endswith("_extra_state")]
    content = unwrap({name: tensors[name] for name in named}, path)
    if any(is_adapter_tensor(name) for name in content):
        raise DataError("LoRA adapters beside weights: `cosmos-lidar merge-lora` merges them", file=path)
    own = network.state_dict()
    content |= _starts_of_additions(network, content, path)
    state = {name: value for name, value in content.items() if name in own or not name.startswith(BESIDE)}
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or unknown:
        kind = PREDICT2 if isinstance(network, Predict2DiT) else DIT
        problem = other_kind(content, kind) or (
            f"{len(missing)} weights missing ({missing[:2]}), {len(unknown)} unknown ({unknown[:2]})"
        )
        raise DataError(problem, file=path, wanted=wanted)
    other = next((name for name in own if own[name].shape != state[name].shape), None)
    if other:
        problem = f"shape {tuple(state[other].shape)} instead of {tuple(own[other].shape)}"
        raise DataError(problem, file=path, key=other, wanted=wanted)
    return state, files


def _starts_of_additions(network: nn.Module, content: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the first values of additions to a network (``start_of``) that the file lacks."""
    start_of = getattr(network, "start_of", None)
    if start_of is None:
        return {}
    lacking = {name: weight.shape for name, weight in network.named_parameters() if name not in content}
    found = {name: start_of(name, shape, content) for name, shape in lacking.items()}
    missing = {name: value for name, value in found.items() if value is not None}
    if missing:
        modules = sorted({name.partition(".")[0] for name in missing})
        logger.info("%s has no %s: what they add is zero to start with", path, ", ".join(modules))
    return missing


def _files(path: Path, wanted: str) -> list[Path]:
    if path.is_dir():
        index = index_in(path)
        if index is None:
            raise DataError(
                "a folder", file=path, wanted=f"{wanted}: a file, or a folder with one index of safetensors"
            )
        return files_of_index(index)
    return files_of_index(path) if is_index(path) else [path]


def _read(files: list[Path], wanted: str) -> dict[str, Tensor]:
    """Return the tensors of files by name.

    Raises:
        DataError: a file cannot be read, or two files have a tensor of one name.
    """
    tensors: dict[str, Tensor] = {}
    for file in files:
        own = read_named_weights(file, wanted, checksums=False)
        if twice := sorted(own.keys() & tensors.keys()):
            raise DataError("an earlier file has this tensor, too", file=file, key=twice[0], wanted=wanted)
        tensors |= own
    return tensors
