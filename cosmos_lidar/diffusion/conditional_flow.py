"""Rectified flow with conditioning frames (Cosmos-Predict2): clean frames in the input, each frame with its own time.

The noise level sigma of x0 + sigma noise is that of the flow time t = sigma / (1 + sigma), where the network sees
x_t = (1 - t) x0 + t noise and predicts the velocity noise - x0. Conditioning frames are given to it as they are,
without noise or scale, at the time of ``SIGMA_CONDITION``, and copied to the output.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from cosmos_lidar.diffusion.objective import flow_time

if TYPE_CHECKING:  # networks and samplers run on a machine that has torch alone
    import numpy as np

SIGMA_CONDITION = 1e-4  # noise level that the network is given of conditioning frames
SIGMA_MIN, SIGMA_MAX = 0.01, 200.0  # of the published sampler of several views

Network = Callable[..., Tensor]


class Condition(NamedTuple):
    """What a clip is generated from.

    Attributes:
        latents: (B, C, F, H, W), of which the frames of the mask are used.
        mask: (B, 1, F, 1, 1), 1 for conditioning frames.
        inputs: further arguments of the network, such as text and frame rate.
    """

    latents: Tensor
    mask: Tensor
    inputs: Mapping[str, Any]

    def with_inputs(self, **inputs: Any) -> Condition:
        """Return the condition with other arguments of the network, such as the text of a negative prompt."""
        return self._replace(inputs={**self.inputs, **inputs})


class ConditionalFlow:
    """The flow of a network: its inputs, the velocity and the denoised latents.

    Args:
        network: (x, timesteps, condition_mask, …) -> velocity, shaped as x; times are (B, F), one for each frame.
        compute_dtype: in which x is given to the network.
        compat: round times to bfloat16, as the published programs do.
    """

    def __init__(self, network: Network, compute_dtype: torch.dtype = torch.float32, compat: bool = False) -> None:
        self.network, self.compute_dtype, self.compat = network, compute_dtype, compat

    def inputs(self, x_t: Tensor, t: Tensor, given: Condition) -> dict[str, Any]:
        """Return the arguments of the network.

        Args:
            x_t: (B, C, F, H, W) interpolant; its conditioning frames are ignored.
            t: (B,) flow times.
            given: the condition.
        """
        mask = given.mask
        x = mask * given.latents + (1.0 - mask) * x_t
        condition_time = SIGMA_CONDITION / (1.0 + SIGMA_CONDITION)
        times = torch.where(mask[:, 0, :, 0, 0] > 0, condition_time, t[:, None])
        times = times.bfloat16().float() if self.compat else times
        channel = mask.expand(-1, -1, -1, *x.shape[3:]).to(self.compute_dtype)
        return {"x": x.to(self.compute_dtype), "timesteps": times, "condition_mask": channel, **given.inputs}

    def velocity_loss(self, clean: Tensor, noise: Tensor, sigma: Tensor, given: Condition) -> Tensor:
        """Return (B,) squared errors of the velocity, means over all elements; conditioning frames count as exact.

        This is the squared error of x0 with the weight (1 + sigma)^2 / sigma^2, without the cancellation.

        Args:
            clean: (B, C, F, H, W) latents.
            noise: unit-variance noise, of that shape.
            sigma: (B,) noise levels.
            given: the condition.
        """
        t = flow_time(sigma)
        x_t = interpolate(clean, noise, t)
        velocity = self.network(**self.inputs(x_t, t, given)).float()
        error = (1.0 - given.mask) * (velocity - (noise - clean))
        return error.square().mean(dim=(1, 2, 3, 4))

    def denoise(self, noisy: Tensor, sigma: Tensor, given: Condition) -> Tensor:
        """Return x0, shaped as ``noisy``, with the conditioning frames as they are given.

        Args:
            noisy: (B, C, F, H, W) x0 + sigma noise.
            sigma: (B,) noise levels.
            given: the condition.
        """
        t = flow_time(sigma)
        wide = t.view(-1, 1, 1, 1, 1)
        x_t = (1.0 - wide) * noisy
        x0 = x_t - wide * self.network(**self.inputs(x_t, t, given)).to(noisy.dtype)
        return given.mask * given.latents + (1.0 - given.mask) * x0

    def denoiser(self, given: Condition, other: Condition | None = None, guidance: float = 0.0) -> Any:
        """Return (x, sigma) -> x0 for the samplers: guided by c + guidance (c - u), the published form.

        Args:
            given: the condition (c).
            other: the one to move away from (u), such as that of a negative prompt; None: no guidance.
            guidance: 0 for c alone; a guidance of g is a scale of 1 + g where scales of 1 mean none.
        """
        dtype, device = given.latents.dtype, given.latents.device

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            levels = sigma.to(device, dtype).expand(len(given.latents))
            x0 = self.denoise(x.to(dtype), levels, given)
            if other is None or not guidance:
                return x0
            return x0 + guidance * (x0 - self.denoise(x.to(dtype), levels, other))

        return denoise


def interpolate(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Return x_t = (1 - t) clean + t noise of (B, C, F, H, W) at times (B,)."""
    wide = t.view(-1, 1, 1, 1, 1)
    return (1.0 - wide) * clean + wide * noise


def first_frames(counts: Sequence[int], views: int, frames: int, device: torch.device | str = "cpu") -> Tensor:
    """Return the mask (B, 1, views * frames, 1, 1) of the first ``counts[i]`` latent frames of every view.

    Args:
        counts: of each sample.
        views: laid one after the other along time.
        frames: latent frames of a view.
        device: of the result.
    """
    leading = torch.tensor(counts, device=device)[:, None] > torch.arange(frames, device=device)
    return leading.repeat(1, views).float()[:, None, :, None, None]


def draw_count(choices: Sequence[int], weights: Sequence[float], rng: np.random.Generator) -> int:
    """Return one of ``choices``, with equal probability where there are no weights."""
    import numpy as np

    shares = np.asarray(weights or [1.0] * len(choices), np.float64)
    return choices[int(rng.choice(len(choices), p=shares / shares.sum()))]


def draw_level(
    rng: np.random.Generator,
    mean: float = 0.0,
    std: float = 1.0,
    scale: float = 1.0,
    high_ratio: float = 0.0,
    high: Sequence[float] = (SIGMA_MAX, 1e5),
) -> float:
    """Return a noise level of training: log-normal, or now and then log-uniform over high ones.

    Args:
        rng: random numbers; NumPy's, as levels are chosen where tensors have no values, for predictions.
        mean: of ln sigma, before the scale.
        std: of ln sigma.
        scale: multiplies sigma; published: the square root of the latent frames of a view, as noise has to hide more
            where frames resemble each other.
        high_ratio: probability of a level from ``high`` instead.
        high: (lowest, highest).
    """
    sigma = scale * math.exp(mean + std * rng.standard_normal())
    chance, place = rng.random(2)
    if chance >= high_ratio:
        return sigma
    low, top = (math.log(level) for level in high)
    return math.exp(low + place * (top - low))


def seeded_noise(seed: int, shape: Sequence[int]) -> Tensor:
    """Return unit-variance noise, float32 on the CPU, as the published sampler draws it: the same on any machine."""
    import numpy as np

    return torch.from_numpy(np.random.RandomState(seed).standard_normal(tuple(shape)).astype(np.float32))
