"""Tokenizers: pure torch networks with the published parameter names, their files and exports."""

from cosmos_lidar.models.tokenizer.checkpoint import load_mean_std, load_tokenizer
from cosmos_lidar.models.tokenizer.config import CONFIGS, TokenizerConfig
from cosmos_lidar.models.tokenizer.export import export_jit, export_safetensors
from cosmos_lidar.models.tokenizer.network import Tokenizer, build_tokenizer
from cosmos_lidar.models.tokenizer.video_config import VIDEO_CONFIGS, VideoTokenizerConfig

__all__ = [
    "CONFIGS",
    "VIDEO_CONFIGS",
    "Tokenizer",
    "TokenizerConfig",
    "VideoTokenizerConfig",
    "build_tokenizer",
    "export_jit",
    "export_safetensors",
    "load_mean_std",
    "load_tokenizer",
]
