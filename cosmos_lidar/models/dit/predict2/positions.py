"""Rotary positions of Cosmos-Predict2: time, rows and columns, with NTK-scaled frequencies and the frame rate."""

from __future__ import annotations

import torch
from torch import Tensor

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.dit.embeddings import over_grid, split_three
from cosmos_lidar.models.dit.predict2.config import Predict2Config


def view_angles(config: Predict2Config, grid: tuple[int, int, int], fps: float | None, device: torch.device) -> Tensor:
    """Return the rotary angles (T, H, W, head_dim / 2) of the tokens of one view, float32 radians: time, rows, columns.

    Each axis of n channels has the frequencies (10000 r^(n / (n - 2)))^(-2i / n), with its extrapolation ratio r (NTK
    scaling); temporal positions are multiplied by ``base_fps / fps``.

    Args:
        config: of the network; with ``compat`` every step is rounded to bfloat16.
        grid: (T, H, W) tokens of a view.
        fps: frame rate; None: temporal positions count latent frames.
        device: of the result.

    Raises:
        UserError: more tokens than the network has positions for.
    """
    _check_table(config, grid)
    dtype = torch.bfloat16 if config.compat else torch.float32
    ratios = config.rope_t_extrapolation_ratio, config.rope_h_extrapolation_ratio, config.rope_w_extrapolation_ratio
    axes: list[Tensor] = []
    for size, dim, ratio in zip(grid, split_three(config.head_dim), ratios, strict=True):
        position = torch.arange(size, device=device).to(dtype)
        if not axes and fps is not None and config.rope_enable_fps_modulation:
            position = position / torch.tensor(fps, device=device).to(dtype) * config.base_fps
        axes.append(torch.outer(position, _frequencies(dim, ratio, dtype, device)).float())
    return over_grid(axes, grid)


def _frequencies(dim: int, ratio: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    exponent = (torch.arange(0, dim, 2, device=device).float() / dim).to(dtype)
    theta = 10000.0 * ratio ** (dim / (dim - 2))
    return 1.0 / theta**exponent


def _check_table(config: Predict2Config, grid: tuple[int, int, int]) -> None:
    if any(size > most for size, most in zip(grid, config.table, strict=True)):
        raise UserError(
            f"(frames, rows, columns) {grid} of tokens in a view; valid: at most {config.table} "
            "(max_frames, max_img_h, max_img_w over the patch)"
        )
