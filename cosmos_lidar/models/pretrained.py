"""Pretrained weights of the frozen loss and metric networks (VGG, AlexNet, RAFT, R3D); never randomly initialized."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.files import read_tensors


@dataclass(frozen=True)
class WeightFile:
    """A published file of weights.

    Attributes:
        name: of the file as torchvision publishes it, which is also its name in torch's cache.
        what: its content, for error messages.
        fetch: Python that downloads it into torch's cache.
    """

    name: str
    what: str
    fetch: str

    @property
    def cached(self) -> Path:
        """Path in torch's cache (``$TORCH_HOME/hub/checkpoints``), whether the file exists or not."""
        return Path(torch.hub.get_dir()) / "checkpoints" / self.name

    @property
    def wanted(self) -> str:
        """How to get the file, for error messages."""
        places = f"in a file that you name or in {self.cached.parent}"
        return f"{self.what}: {self.name}, {places} (python -c '{self.fetch}' puts it there)"

    def find(self, named: str | Path = "") -> Path:
        """Return the named file, else the one in torch's cache.

        Raises:
            DataError: no such file; the message names where to get it.
        """
        path = Path(named) if str(named) else self.cached
        if not path.is_file():
            raise DataError("no such file", file=path, wanted=self.wanted)
        return path


VGG16 = WeightFile(
    "vgg16-397923af.pth",
    "VGG16 weights with torchvision's names (features.0.weight … features.28.bias)",
    "from torchvision.models import vgg16; vgg16(weights=\"IMAGENET1K_V1\")",
)  # fmt: skip
ALEXNET = WeightFile(
    "alexnet-owt-7be5be79.pth",
    "AlexNet weights with torchvision's names (features.0.weight … features.10.bias)",
    "from torchvision.models import alexnet; alexnet(weights=\"IMAGENET1K_V1\")",
)  # fmt: skip
RAFT = WeightFile(
    "raft_large_C_T_SKHT_V2-ff5fadd5.pth",
    "weights of torchvision's raft_large",
    "from torchvision.models.optical_flow import raft_large; raft_large(weights=\"C_T_SKHT_V2\")",
)  # fmt: skip
R3D_18 = WeightFile(
    "r3d_18-b3b3357e.pth",
    "weights of torchvision's r3d_18, trained on Kinetics-400",
    "from torchvision.models.video import r3d_18; r3d_18(weights=\"KINETICS400_V1\")",
)  # fmt: skip


def torchvision_module(name: str, purpose: str, otherwise: str) -> ModuleType:
    """Return a module of torchvision, an optional dependency.

    Args:
        name: below ``torchvision``, such as ``"models.optical_flow"``.
        purpose: what needs it, for the message.
        otherwise: how to do without.

    Raises:
        UserError: it is not installed, or was built for another torch.
    """
    try:
        return importlib.import_module(f"torchvision.{name}")
    except (ImportError, RuntimeError) as error:  # RuntimeError: its operators were compiled for another torch
        raise UserError(
            f"{purpose} needs torchvision ({error!s:.100}): install the one that belongs to torch {torch.__version__}, "
            f"from where that torch came, or {otherwise}"
        ) from error


def load_weights(network: nn.Module, path: Path, wanted: str) -> None:
    """Fill all parameters and buffers of a network from a file (.pth or .safetensors); other tensors in it are ignored.

    Args:
        network: with the names of the file.
        path: of the file.
        wanted: for error messages.

    Raises:
        DataError: not such a file, or tensors missing from it, of another shape or not finite.
    """
    state, own = read_weights(path, wanted), network.state_dict()
    missing = sorted(set(own) - set(state))
    if missing:
        raise DataError(f"missing {', '.join(missing[:30])}", file=path, wanted=wanted)
    for key, value in own.items():
        if state[key].shape != value.shape:
            found = f"{key} is {tuple(state[key].shape)}, not {tuple(value.shape)}"
            raise DataError(found, file=path, key=key, wanted=wanted)
        if not torch.isfinite(state[key]).all():
            raise DataError("weights that are not finite", file=path, key=key, wanted=wanted)
    network.load_state_dict({key: state[key].to(value.dtype) for key, value in own.items()})


def read_weights(path: Path, wanted: str) -> dict[str, Tensor]:
    """Return the tensors of a file of weights by name.

    Raises:
        DataError: no such file, or not one of weights.
    """
    content = read_tensors(path, wanted)
    if not isinstance(content, dict):
        raise DataError(f"holds a {type(content).__name__}", file=path, wanted=wanted)
    return {key: value for key, value in content.items() if isinstance(value, Tensor)}
