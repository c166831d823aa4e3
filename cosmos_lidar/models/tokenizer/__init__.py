"""Tokenizers: pure torch networks with the published parameter names, their files and exports.

Names are imported when they are first used: the configurations among them need no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cosmos_lidar.models.tokenizer.checkpoint import load_mean_std, load_tokenizer
    from cosmos_lidar.models.tokenizer.config import CONFIGS, TokenizerConfig
    from cosmos_lidar.models.tokenizer.export import export_jit, export_safetensors
    from cosmos_lidar.models.tokenizer.network import (
        ContinuousTokenizer,
        DiscreteTokenizer,
        Tokenizer,
        build_tokenizer,
    )
    from cosmos_lidar.models.tokenizer.video_config import VIDEO_CONFIGS, VideoTokenizerConfig

_MODULES = {
    "checkpoint": ("load_mean_std", "load_tokenizer"),
    "config": ("CONFIGS", "TokenizerConfig"),
    "export": ("export_jit", "export_safetensors"),
    "network": ("ContinuousTokenizer", "DiscreteTokenizer", "Tokenizer", "build_tokenizer"),
    "video_config": ("VIDEO_CONFIGS", "VideoTokenizerConfig"),
}

__all__ = [
    "CONFIGS",
    "VIDEO_CONFIGS",
    "ContinuousTokenizer",
    "DiscreteTokenizer",
    "Tokenizer",
    "TokenizerConfig",
    "VideoTokenizerConfig",
    "build_tokenizer",
    "export_jit",
    "export_safetensors",
    "load_mean_std",
    "load_tokenizer",
]


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
