"""Findings: what a check or a reader found wrong in a clip, with file, frame and measured evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that was found in a clip.

    Attributes:
        kind: what it is, ``check.what``, such as ``clock.unit``: stable, for scripts.
        severity: ``error``: training on it, or reading it, gives wrong results, ``cosmos-lidar inspect`` returns 1.
            ``warning``: suspicious, or already compensated by the reader. ``note``: worth knowing.
        text: one sentence with the numbers, without the names of clip, lidar or camera.
        frame: number of the sweep, or of the image of a camera; None where it is about the whole stream.
        file: that holds it, as far as known.
        evidence: measured numbers and texts by name, ready for JSON; the unit ends the name, such as ``step_us``.
        clip: the clip's id; filled in by the caller of checks, as are the fields below.
        lidar: name of the lidar.
        camera: name of the camera.
        frame_id: the dataset's name of the frame.
    """

    kind: str
    severity: Severity
    text: str
    frame: int | None = None
    file: str | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
    clip: str | None = None
    lidar: str | None = None
    camera: str | None = None
    frame_id: str | None = None

    def __post_init__(self) -> None:
        """Make numbers of numpy plain ones."""
        if self.frame is not None:
            object.__setattr__(self, "frame", int(self.frame))
        object.__setattr__(self, "evidence", {name: plain(value) for name, value in self.evidence.items()})


def plain(value: Any) -> Any:
    """Return numbers, arrays and paths as JSON has them: floats rounded to 6 significant digits, NaN as text."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else str(value)
    return value if isinstance(value, (int, str)) or value is None else str(value)
