"""What pulls latents that are drawn from a Gaussian to the standard normal (Kingma and Welling 2013)."""

from __future__ import annotations

from torch import Tensor

from cosmos_lidar.errors import DataError


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the mean over all latent values of KL(N(mean, variance) || N(0, 1)), a scalar.

    Args:
        mean: any shape.
        log_variance: of the same shape.

    Raises:
        DataError: shapes that differ.
    """
    if mean.shape != log_variance.shape:
        shapes = f"means of {tuple(mean.shape)} and log-variances of {tuple(log_variance.shape)}"
        raise DataError(shapes, wanted="two of the same shape")
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).mean()
