"""Configuration of the Wan2.1 video VAE, with its latent statistics."""

from __future__ import annotations

from dataclasses import dataclass

from cosmos_lidar.errors import UserError

_MEAN = (
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
    0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
)  # fmt: skip
_STD = (
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
)  # fmt: skip


@dataclass(frozen=True)
class WanVAEConfig:
    """Configuration of a causal video VAE.

    Attributes:
        dim: base width; 96 in the published network.
        channels_mult: width of each level, in base widths.
        num_res_blocks: residual blocks of a level of the encoder; the decoder has one more.
        temporal: for each step between levels, whether it halves time, too.
        latent_mean: of each latent channel, subtracted from the encoder's mean.
        latent_std: of each latent channel, divided by afterwards.
    """

    dim: int = 96
    channels_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    temporal: tuple[bool, ...] = (False, True, True)
    latent_mean: tuple[float, ...] = _MEAN
    latent_std: tuple[float, ...] = _STD

    def __post_init__(self) -> None:
        """Refuse widths that cannot be halved and lists of different lengths."""
        if self.dim < 2 or self.dim % 2:
            raise UserError(f"dim={self.dim}: expected an even number of channels, 96 in the published VAE")
        if len(self.temporal) != len(self.channels_mult) - 1 or len(self.latent_mean) != len(self.latent_std):
            raise UserError("expected one temporal step less than levels, and as many means as deviations")

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        return len(self.latent_mean)

    @property
    def spatial_compression(self) -> int:
        """Pixels of one latent, along height and along width."""
        return 2 ** len(self.temporal)

    @property
    def temporal_compression(self) -> int:
        """Frames of one latent frame, except the first."""
        return 2 ** sum(self.temporal)

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """Return (channels, frames, rows, columns) of the latents of a video; what fills no latent is left out."""
        step = self.spatial_compression
        time = 1 + (frames - 1) // self.temporal_compression
        return self.latent_channels, time, height // step, width // step


CONFIGS = {"wan2_1": WanVAEConfig()}
