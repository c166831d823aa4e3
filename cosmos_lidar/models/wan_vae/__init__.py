"""The Wan2.1 video VAE: pure torch, published parameter names, causal streaming."""

from cosmos_lidar.models.wan_vae.config import CONFIGS, WanVAEConfig
from cosmos_lidar.models.wan_vae.vae import WanVAE, build_vae
from cosmos_lidar.models.wan_vae.weights import load_vae, load_vae_weights

__all__ = ["CONFIGS", "WanVAE", "WanVAEConfig", "build_vae", "load_vae", "load_vae_weights"]
