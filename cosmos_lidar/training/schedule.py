"""Learning-rate schedule: warm-up, and a decay along a cosine or a line."""

from __future__ import annotations

import math

from cosmos_lidar.training.config import OptimConfig


def lr_factor(step: int, config: OptimConfig) -> float:
    """Return the share of the learning rate at ``step`` (from 0).

    Warm-up: min(1, (step + 1) / warmup_steps), or a line from ``warmup_from`` at step 0 to 1 at ``warmup_steps``.
    Decay, where ``decay_until`` is set: to ``decay_to`` there, along half a cosine from step 0, or a line from the end
    of warm-up.
    """
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.warmup_steps and config.warmup_from:
        warmup = config.warmup_from + (1.0 - config.warmup_from) * min(1.0, step / config.warmup_steps)
    return warmup * (config.decay_to + (1.0 - config.decay_to) * _decay(step, config))


def _decay(step: int, config: OptimConfig) -> float:
    """From 1 to 0 at ``decay_until``; 1 without it."""
    until, start = config.decay_until, config.warmup_steps
    if not until:
        return 1.0
    if config.decay == "linear":
        return 1.0 - min(1.0, max(0, step - start) / max(1, until - start))
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / until)))
