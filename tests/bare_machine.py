"""A machine that has torch and Triton alone: what else a checkout needs is not found by Python's import system."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The requirements of setup.cfg and of its extras, but torch and Triton, by the names that they are imported by.
REFUSED = (
    "DracoPy OpenEXR PIL accelerate alembic apex av diffusers huggingface_hub hydra isal laspy lazrs leptonai "
    "lightning lightning_fabric lightning_utilities matplotlib megatron mlflow ncore nemo nemo_run numpy omegaconf "
    "pandas pyarrow pytest pytorch_lightning rerun rich rosbags safetensors scipy shtab sqlalchemy tensorboard "
    "tokenizers torchmetrics torchvision transformer_engine transformers wandb yaml zstandard"
).split()
_SITE = f"""
from importlib.machinery import PathFinder

find = PathFinder.find_spec


def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in {REFUSED!r} else find(name, path, target)


PathFinder.find_spec = staticmethod(find_spec)
"""


def bare_environment(folder: Path) -> dict[str, str]:
    """Return the environment of a Python without those packages; the processes that it starts lack them, too.

    Args:
        folder: for the ``sitecustomize.py`` that Python runs at its start.
    """
    (folder / "sitecustomize.py").write_text(_SITE, encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "TRITON_INTERPRET")}
    return kept | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]), "OMP_NUM_THREADS": "1"}
