"""Diffusion transformers by name."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.dit import predict2
from cosmos_lidar.models.dit.config import SHAPES, DiTConfig
from cosmos_lidar.models.dit.network import GeneralDiT
from cosmos_lidar.models.dit.predict2 import Predict2Config, Predict2DiT

DiT = GeneralDiT | Predict2DiT


def shape_names() -> list[str]:
    """Return the names that :func:`build_dit` takes."""
    return [*SHAPES, *predict2.SHAPES]


def find_shape(name: str, **overrides: Any) -> DiTConfig | Predict2Config:
    """Return the configuration of a name, with some of its fields replaced.

    Raises:
        UserError: unknown name or field.
    """
    shapes: dict[str, Any] = {**SHAPES, **predict2.SHAPES}
    if name not in shapes:
        raise UserError(f"unknown diffusion transformer {name!r}; valid: {', '.join(shapes)}")
    known = [field.name for field in fields(shapes[name])]
    unknown = sorted(set(overrides) - set(known))
    if unknown:
        raise UserError(f"unknown field {unknown[0]!r}; valid: {', '.join(known)}")
    return replace(shapes[name], **overrides)


def build_dit(name: str, **overrides: Any) -> DiT:
    """Return a diffusion transformer: ``faditv2_7b`` (Cosmos-Predict1), ``predict2_2b_multiview`` and others.

    Args:
        name: one of :func:`shape_names`.
        **overrides: fields of :class:`~cosmos_lidar.models.dit.config.DiTConfig`, or of
            :class:`~cosmos_lidar.models.dit.predict2.config.Predict2Config` for the names that begin with ``predict2``.

    Raises:
        UserError: unknown name or field.
    """
    config = find_shape(name, **overrides)
    return Predict2DiT(config) if isinstance(config, Predict2Config) else GeneralDiT(config)
