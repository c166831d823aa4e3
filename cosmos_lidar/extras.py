"""Optional packages: the extras that bring them (``pip install 'cosmos_lidar[train]'``), and checks for them."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable
from typing import Any

from cosmos_lidar.errors import UserError

# Module -> the extra of setup.cfg that installs it.
EXTRAS = {
    "alembic": "trackers",
    "cbor2": "ncore",
    "DracoPy": "draco",
    "laspy": "las",
    "lightning": "train",
    "megatron.energon": "train",
    "mlflow": "trackers",
    "ncore": "ncore",
    "nemo": "train",
    "nemo_run": "train",
    "numcodecs": "ncore",
    "OpenEXR": "exr",
    "pyarrow": "parquet",
    "rerun": "viz",
    "rosbags": "ros",
    "sqlalchemy": "trackers",
    "tensorboard": "train",
    "transformers": "text",
    "wandb": "trackers",
}
TRAINING = ("lightning", "megatron.energon", "nemo")  # what every training run imports


def require_installed(modules: Iterable[str], use: str) -> None:
    """Require optional packages before any work; nothing is imported.

    Args:
        modules: keys of :data:`EXTRAS`.
        use: what needs them, such as ``cosmos-lidar train``.

    Raises:
        UserError: one is not installed; the message has the command that installs them.
    """
    missing = [module for module in modules if not _installed(module)]
    if missing:
        names, extras = ", ".join(missing), dict.fromkeys(EXTRAS[module] for module in missing)
        verb = "is" if len(missing) == 1 else "are"
        raise UserError(f"{use} needs {names}, which {verb} not installed: {install_line(*extras)}")


def require(module: str) -> Any:
    """Import a module of an optional package.

    Args:
        module: dotted module name, such as ``"megatron.energon.flavors"``.

    Raises:
        UserError: it is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        extra = next(extra for name, extra in EXTRAS.items() if f"{module}.".startswith(f"{name}."))
        raise UserError(f"{module} is needed here and {error.name} is not installed: {install_line(extra)}") from error


def install_line(*extras: str) -> str:
    """Return the command that installs extras."""
    return f"pip install 'cosmos_lidar[{','.join(extras)}]'"


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is missing
        return False
