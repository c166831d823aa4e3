"""Representation alignment: inner tokens of a diffusion transformer are projected toward features of another network.

REPA (Yu et al. 2024, arXiv 2410.06940) aligns them with features of images; R3DPA with those of lidar backbones.
"""

from __future__ import annotations

from torch import Tensor, nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.dit.network import GeneralDiT

PREFIX = "alignment."  # of its parameters; no part of the published network


class AlignmentHead(nn.Module):
    """Three linear layers with SiLU from the tokens after a block to the features that they are aligned with.

    Args:
        width: of the tokens.
        channels: of the features.
        hidden: width of the two inner layers.
        block: name of the block whose outputs are projected.
        grid: (rows, columns) of the tokens at the beginning of the sequence that are projected.
        row_tokens: tokens from one row of these to the next.
    """

    def __init__(
        self, width: int, channels: int, hidden: int, block: str, grid: tuple[int, int], row_tokens: int
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, channels)
        )
        self.block, self.grid, self.row_tokens = block, grid, row_tokens
        self._projected: Tensor | None = None

    def project(self, tokens: Tensor) -> None:
        """Keep the projection (B, rows, columns, channels) of the tokens (B, L, width) after the block."""
        rows, columns = self.grid
        first = tokens[:, : rows * self.row_tokens].unflatten(1, (rows, self.row_tokens))[:, :, :columns]
        self._projected = self.layers(first)

    def take(self) -> Tensor:
        """Return the projection of the last forward pass, once: its graph is not kept longer than needed.

        Raises:
            RuntimeError: there was no forward pass.
        """
        projected, self._projected = self._projected, None
        if projected is None:
            raise RuntimeError("no forward pass since the last call")
        return projected


def add_alignment(
    network: GeneralDiT, blocks: int, channels: int, hidden: int, grid: tuple[int, int], row_tokens: int
) -> GeneralDiT:
    """Give a network a head on the tokens after its first ``blocks`` blocks, in place; returns it.

    Args:
        network: on any device; on the meta device, the head is recorded by
            :func:`~cosmos_lidar.models.deferred.build_deferred`.
        blocks: 1 to the number of its blocks.
        channels: of the features.
        hidden: width of the inner layers.
        grid: (rows, columns) of tokens, see :class:`AlignmentHead`.
        row_tokens: of the sequence per row.

    Raises:
        UserError: the network has fewer blocks.
    """
    names = list(network.blocks)
    if not 1 <= blocks <= len(names):
        raise UserError(
            f"model.alignment.block={blocks}: the network has {len(names)} blocks; valid: 1 to {len(names)}"
        )
    width = network.config.model_channels
    network.alignment = AlignmentHead(width, channels, hidden, names[blocks - 1], grid, row_tokens)
    return network


def without_alignment(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a network without those of its head."""
    return {name: weight for name, weight in weights.items() if not name.startswith(PREFIX)}
