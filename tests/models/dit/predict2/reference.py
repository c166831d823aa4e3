"""A tiny Predict2 network with the weights and inputs of the published numbers (``tests/vectors/predict2.npz``)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cosmos_lidar.models.dit import build_dit

TINY = {"model_channels": 64, "num_blocks": 2, "num_heads": 4, "adaln_lora_dim": 16, "state_t": 2}
VIEWS = 3
SHAPE = (1, 16, 6, 8, 12)


def vectors(name: str = "predict2") -> dict[str, Tensor]:
    """Return the published numbers by name."""
    with np.load(Path(__file__).parents[3] / "vectors" / f"{name}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files if file[key].dtype.kind != "U"}


def tiny_network(fill: str = "B", **overrides: object) -> nn.Module:
    """Return the network with weights ``A`` (smooth, nearly linear) or ``B`` (pseudo-random)."""
    network = build_dit("predict2_2b_multiview", **TINY | overrides)
    parameters = dict(network.named_parameters())
    with torch.no_grad():
        for k, name in enumerate(sorted(parameters)):
            parameters[name].copy_(_values(name, parameters[name].shape, k, fill))
    return network.eval()


def pseudo_random(shape: tuple[int, ...], k: int) -> Tensor:
    """Return values in [-1, 1): 2 frac(43758.5453 sin(12.9898 i + 78.233 k + 1)) - 1."""
    return _u(int(np.prod(shape)), k).float().view(shape)


def waves(shape: tuple[int, ...], a: float, b: float) -> Tensor:
    """Return sin(a i + b)."""
    return torch.sin(a * torch.arange(np.prod(shape), dtype=torch.float64) + b).float().view(shape)


def inputs(fill: str = "B") -> dict[str, Tensor | float]:
    """Return the arguments of the network: one conditional frame in each view, 10 frames per second."""
    known = vectors()
    mask = torch.zeros(1, 1, *SHAPE[2:])
    mask[:, :, ::2] = 1
    text = (1, VIEWS * 512, 1024)
    return {
        "x": pseudo_random(SHAPE, 1000) if fill == "B" else waves(SHAPE, 0.37, 0.1),
        "timesteps": known["timesteps"],
        "text": pseudo_random(text, 1001) if fill == "B" else waves(text, 0.11, 0.2),
        "condition_mask": mask,
        "fps": torch.tensor([10.0]),
        "padding_mask": torch.zeros(1, 1, 64, 96),
        "view_indices": known["view_indices"],
    }


def _u(count: int, k: int) -> Tensor:
    z = 43758.5453 * torch.sin(12.9898 * torch.arange(count, dtype=torch.float64) + 78.233 * k + 1)
    return 2 * (z - z.floor()) - 1


def _values(name: str, shape: torch.Size, k: int, fill: str) -> Tensor:
    numel = shape.numel()
    if fill == "A":
        values = 0.02 * torch.sin(torch.arange(numel, dtype=torch.float64) + k)
        return (values + name.endswith("norm.weight")).float().view(shape)
    u = _u(numel, k)
    if name.endswith("_norm.weight"):
        values = (1 + 0.2 * u) * (2 if "q_norm" in name or "k_norm" in name else 1)
    elif name == "view_embeddings.weight":
        values = u
    else:
        values = u * (3 / shape[1]) ** 0.5 * (2 if "adaln_modulation" in name or "t_embedder" in name else 1)
    return values.float().view(shape)
