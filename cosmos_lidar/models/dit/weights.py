"""Loading of diffusion-transformer weights from files of the published trainer or of this project."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.stored_weights import StoredWeights
from cosmos_lidar.models.wrapped_weights import read_weights, unwrap, weights_of


def load_dit_weights(network: nn.Module, path: Path) -> None:
    """Fill a network from ``model.pt``, ``iter_N_ema_model.pt`` or the same as safetensors; ``net.`` may precede names.

    A network on the ``meta`` device takes the tensors of the file without being initialized first: 7 B
    parameters in fp32 are 29 GB. What published files hold beside the network (``logvar``, which training alone needs,
    and ``_extra_state``, which TransformerEngine leaves behind) is ignored.

    Raises:
        DataError: no readable file, or the weights of another network; nothing is changed then.
    """
    network.load_state_dict(_checked_state(network, path), assign=next(network.parameters()).is_meta)


def open_dit_weights(network: nn.Module, path: Path) -> StoredWeights:
    """Open the same files for reading tensor by tensor, memory-mapped, after comparing all names and shapes.

    Args:
        network: on any device; it is not changed.
        path: of the file.

    Raises:
        DataError: no readable file, or the weights of another network.
    """
    return StoredWeights(_checked_state(network, path), [path])


def _checked_state(network: nn.Module, path: Path) -> dict[str, Tensor]:
    wanted = f"the weights of a {type(network).__name__} of the same shape"
    try:
        content = weights_of(read_weights(path, wanted))
        tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
        named = [name for name in tensors if "logvar." not in name and not name.endswith("_extra_state")]
        content = unwrap({name: tensors[name] for name in named}, path)
        state = {
            name.removeprefix("net."): value
            for name, value in content.items()
            if not name.startswith("logvar.") and not name.endswith("_extra_state")
        }
    except AttributeError as error:  # no dictionary of names
        raise DataError(f"not readable: {error!s:.120}", file=path, wanted=wanted) from error
    own = network.state_dict()
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or unknown:
        problem = f"{len(missing)} weights missing ({missing[:2]}), {len(unknown)} unknown ({unknown[:2]})"
        raise DataError(problem, file=path, wanted=wanted)
    other = next((name for name in own if own[name].shape != state[name].shape), None)
    if other:
        problem = f"shape {tuple(state[other].shape)} instead of {tuple(own[other].shape)}"
        raise DataError(problem, file=path, key=other, wanted=wanted)
    return state
