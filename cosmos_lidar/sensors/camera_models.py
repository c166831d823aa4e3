"""NCore camera models (json): lenses of NVIDIA NCore and PhysicalAI-Autonomous-Vehicles, f-theta and pinhole.

Principal points of f-theta models count from the center of the first pixel, as ours do; those of pinhole models from
its corner, and half a pixel is taken off. Of OpenCV's distortion, k1 k2 k3 (``radial_coeffs``) and p1 p2 are modeled;
k4 k5 k6 (its rational model) and thin prisms are not. Distortion by a windshield (``external_distortion_parameters``)
is left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.ftheta import FThetaCamera
from cosmos_lidar.sensors.pinhole import PinholeCamera

_POLYNOMIALS = {"PIXELDIST_TO_ANGLE": "pixeldist_to_angle_poly", "ANGLE_TO_PIXELDIST": "angle_to_pixeldist_poly"}
_PINHOLES = ("opencv-pinhole", "ideal-pinhole", "pinhole")


def lens_of_model(kind: str, parameters: Any) -> FThetaCamera | PinholeCamera | None:
    """Return the lens of an NCore camera model; None for fisheyes, rational models and thin prisms.

    Args:
        kind: ``camera_model_type``, such as ``ftheta`` or ``opencv-pinhole``.
        parameters: ``camera_model_parameters``, the parsed json.

    Raises:
        DataError: missing or broken parameters; the message names the key.
    """
    if kind not in ("ftheta", *_PINHOLES):
        return None
    if not isinstance(parameters, dict):
        raise DataError(f"a {type(parameters).__name__}", key="camera_model_parameters", wanted="a mapping")
    width, height = (int(side) for side in _floats(parameters, "resolution", 2, 2))
    cx, cy = _floats(parameters, "principal_point", 2, 2)
    if kind == "ftheta":
        return _ftheta(parameters, cx, cy, width, height)
    radial, tangential, prism = (
        _floats(parameters, key, 1, most) if key in parameters else ()
        for key, most in (("radial_coeffs", 6), ("tangential_coeffs", 2), ("thin_prism_coeffs", 4))
    )
    if any(radial[3:]) or any(prism):
        return None
    fx, fy = _floats(parameters, "focal_length", 2, 2)
    k1, k2, k3 = (*radial[:3], 0.0, 0.0, 0.0)[:3]
    p1, p2 = (*tangential, 0.0, 0.0)[:2]
    distortion = (k1, k2, p1, p2, k3)
    return PinholeCamera(fx, fy, cx - 0.5, cy - 0.5, width, height, distortion if any(distortion) else ())


def windshield_note(name: str, parameters: Any) -> str | None:
    """Return the note about a distortion that the lens leaves out; None where there is none."""
    outside = isinstance(parameters, dict) and parameters.get("external_distortion_parameters")
    return f"{name}: distortion by the windshield is not in its lens" if outside else None


def _ftheta(parameters: dict[str, Any], cx: float, cy: float, width: int, height: int) -> FThetaCamera:
    reference = parameters.get("reference_poly")
    if reference not in _POLYNOMIALS:
        raise DataError(f"{reference!r:.60}", key="reference_poly", wanted=" or ".join(_POLYNOMIALS))
    polynomial = _floats(parameters, _POLYNOMIALS[reference], 2, 6)
    # NCore takes an all-zero linear part, which some files have, for the identity.
    linear = _floats(parameters, "linear_cde", 3, 3) if parameters.get("linear_cde") is not None else ()
    c, d, e = linear if any(linear) else (1.0, 0.0, 0.0)
    return FThetaCamera(cx, cy, width, height, polynomial, reference == "PIXELDIST_TO_ANGLE", (c, d, e))


def _floats(parameters: dict[str, Any], key: str, least: int, most: int) -> tuple[float, ...]:
    values = parameters.get(key)
    wanted = f"{most} finite numbers" if least == most else f"{least} to {most} finite numbers"
    problem = f"{values!r:.60}" if key in parameters else "missing"
    if not isinstance(values, list | tuple) or not least <= len(values) <= most:
        raise DataError(problem, key=key, wanted=wanted)
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        raise DataError(problem, key=key, wanted=wanted)
    if not all(abs(value) < 1e12 for value in values) or not np.isfinite(np.array(values, np.float64)).all():
        raise DataError(problem, key=key, wanted=wanted)
    return tuple(float(value) for value in values)
