"""The canvas that a lidar range map and camera images share: one slot of time for each, lidar first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cosmos_lidar.errors import DataError, UserError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class CanvasLayout:
    """Sizes of the latents in the slots; what a slot does not fill is zero.

    Attributes:
        lidar: (rows, columns) of the latent range map.
        image: (rows, columns) of the latents of an image.
        views: cameras.
    """

    lidar: tuple[int, int] = (64, 224)
    image: tuple[int, int] = (88, 160)
    views: int = 3

    def __post_init__(self) -> None:
        """Refuse layouts of nothing."""
        if self.views < 1 or min(*self.lidar, *self.image) < 1:
            raise UserError(f"{self}: at least one camera, and latents of at least 1 x 1")

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) of the canvas: as large as the largest latents, and even, as tokens are 2 x 2."""
        rows, columns = (max(pair) for pair in zip(self.lidar, self.image, strict=True))
        return rows + rows % 2, columns + columns % 2

    def place(self, lidar: Tensor, images: Tensor) -> Tensor:
        """Return the canvas (B, C, 1 + views, rows, columns).

        Args:
            lidar: (B, C, rows, columns) latents of range maps.
            images: (B, views, C, rows, columns) latents of images.

        Raises:
            DataError: latents of other sizes than the layout has.
        """
        channels = lidar.shape[1]
        wanted = (*self.lidar,), (self.views, channels, *self.image)
        if lidar.shape[2:] != wanted[0] or images.shape[1:] != wanted[1] or len(lidar) != len(images):
            found = f"latents of lidar {tuple(lidar.shape)} and of images {tuple(images.shape)}"
            raise DataError(found, wanted=f"(B, {channels}, {self.lidar}) and (B, {wanted[1]})")
        canvas = lidar.new_zeros(len(lidar), channels, 1 + self.views, *self.size)
        canvas[:, :, 0, : self.lidar[0], : self.lidar[1]] = lidar
        canvas[:, :, 1:, : self.image[0], : self.image[1]] = images.transpose(1, 2)
        return canvas

    def lidar_of(self, canvas: Tensor) -> Tensor:
        """Return the latents (B, C, rows, columns) of the range map."""
        return canvas[:, :, 0, : self.lidar[0], : self.lidar[1]]

    def used(self, canvas: Tensor) -> Tensor:
        """Return (1, 1, 1 + views, rows, columns): 1 where something lies, 0 where a slot is not filled."""
        mask = canvas.new_zeros(1, 1, 1 + self.views, *self.size)
        mask[:, :, 0, : self.lidar[0], : self.lidar[1]] = 1.0
        mask[:, :, 1:, : self.image[0], : self.image[1]] = 1.0
        return mask

    def kept(self, patch: int = 2) -> Tensor:
        """Return the numbers (K,) of the tokens, squares of ``patch`` latents, in which something lies."""
        import torch

        rows, columns = self.size
        mask = self.used(torch.empty(1, 1, 1, 1, 1))[0, 0]
        tokens = mask.view(1 + self.views, rows // patch, patch, columns // patch, patch).amax((2, 4))
        return tokens.flatten().nonzero()[:, 0]

    def lidar_tokens(self, dense: bool, patch: int = 2) -> tuple[tuple[int, int], int]:
        """Return ((rows, columns) of the tokens of the range map, tokens of the sequence from one row to the next).

        They are at the beginning of the sequence.

        Args:
            dense: tokens of unfilled parts of the canvas are left out.
            patch: latents of a token, along rows and columns.
        """
        rows, columns = (-(-side // patch) for side in self.lidar)
        return (rows, columns), columns if dense else self.size[1] // patch

    def given(self, canvas: Tensor) -> Tensor:
        """Return (1, 1, 1 + views, 1, 1): 1 where latents are given (images), 0 where they are made (lidar)."""
        mask = canvas.new_ones(1, 1, 1 + self.views, 1, 1)
        mask[:, :, 0] = 0.0
        return mask
