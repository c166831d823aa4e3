"""Units of stamps: years that no recording is from, steps that are a power of ten off the lidar's turn, other clocks.

Stamps are microseconds. Those that count from the start of a recording are normal: up to a day. Others are taken for
times since 1970 (Unix time), of which recordings have the years 2000 to 2100: milliseconds read as microseconds fall
into January 1970, tenths of microseconds into the 25th century. Stamps from 1971 to 1999 count from another moment,
such as the start of GPS time in 1980 (Argoverse 2).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from cosmos_lidar.clips.checks._recording import Recording
from cosmos_lidar.clips.clip import CameraStream, LidarStream
from cosmos_lidar.clips.finding import Finding, Severity

TITLE = "stamps in a wrong unit: impossible years, steps 10, 1000, … times off the sensor's turn, two clocks"
READS = False
_DAY_US = 86_400_000_000
_FIRST_US, _LAST_US = 946_684_800_000_000, 4_102_444_800_000_000  # the years 2000 and 2100
_POWER_SLACK = 0.18  # of log10: steps within a factor of 1.5 of a power of ten
_FULL_TURN = 0.3  # of a revolution: sweeps that take less are moments, and do not show the unit
_APART_US = 60_000_000  # cameras and lidars of one recording


def check_lidar(recording: Recording, stream: LidarStream) -> Iterator[Finding]:
    """Yield findings on the years and steps of the sweeps."""
    times = np.asarray(stream.timestamps_us, np.int64)
    if not len(times):
        return
    step = float(np.median(np.diff(times[:, 0]))) if len(times) > 1 else None
    turn_us = 1e6 / stream.sensor.spin_hz
    yield from _year(int(times[0, 0]), step, turn_us)
    if step is not None and step > 0:
        yield from _step(times, step, turn_us)


def check_camera(recording: Recording, camera: CameraStream) -> Iterator[Finding]:
    """Yield a finding on the year of the images, and where their clock is another than the lidar's."""
    times = np.asarray(camera.timestamps_us, np.int64)
    if not len(times):
        return
    yield from _year(int(times[0]), None, None)
    lidars = [one.timestamps_us for one in recording.clip.lidars.values() if len(one) and len(one.timestamps_us)]
    if not lidars:
        return
    first, last = min(int(one[0, 0]) for one in lidars), max(int(one[-1, 1]) for one in lidars)
    apart = max(first - int(times[-1]), int(times[0]) - last)
    if apart > _APART_US:
        text = f"images are {apart / 1e6:.0f} s away from all sweeps: another clock or unit"
        evidence = {"images_us": times[[0, -1]], "sweeps_us": [first, last], "apart_us": apart}
        yield Finding("clock.apart", "error", text, 0, evidence=evidence)


def _year(first_us: int, step_us: float | None, turn_us: float | None) -> Iterator[Finding]:
    if abs(first_us) < _DAY_US or _FIRST_US <= first_us < _LAST_US:
        return
    evidence = {"first_us": first_us, "year": _year_of(first_us), "step_us": step_us, "turn_us": turn_us}
    factor = _fitting_factor(first_us, step_us, turn_us)
    if 0 <= first_us < _FIRST_US and factor is None:
        text = f"stamps begin {first_us / _DAY_US:.1f} days after the start of 1970: they count from another moment"
        severity: Severity = "warning" if _year_of(first_us) == 1970 else "note"  # the GPS epoch is in 1980
        yield Finding("clock.epoch", severity, text, 0, evidence=evidence)
        return
    text = f"stamps begin in the year {_year_of(first_us)}, outside of 2000 to 2100"
    if factor is not None:
        year = _year_of(first_us * factor)
        text += f"; in {year} with {factor:g} times as many microseconds: a wrong unit"
        evidence |= {"factor": factor, "year_by_factor": year}
    yield Finding("clock.unit", "error", text, 0, evidence=evidence)


def _fitting_factor(first_us: int, step_us: float | None, turn_us: float | None) -> float | None:
    """Return the power of ten by which stamps fall into the years 2000 to 2100, or None.

    Early stamps may count from any other moment: theirs must bring the steps to the sensor's revolution, too.
    """
    for factor in (1e3, 1e6, 1e-3, 1e-1, 1e-2, 1e-6, 1e-9):
        fits = _FIRST_US <= first_us * factor < _LAST_US
        if fits and factor > 1.0:
            fits = bool(step_us and turn_us) and abs(math.log10(step_us * factor / turn_us)) < _POWER_SLACK  # type: ignore[operator]
        if fits:
            return factor
    return None


def _year_of(time_us: float) -> int:
    return math.floor(1970 + time_us / (365.2425 * _DAY_US))


def _step(times: np.ndarray, step: float, turn_us: float) -> Iterator[Finding]:
    """Yield a finding where the step of the sweeps is a power of ten off a revolution, and their length is, too.

    Recordings with every n-th sweep have long steps as well; their sweeps take one revolution.
    """
    ratio = step / turn_us
    power = round(math.log10(ratio))
    if power == 0 or abs(math.log10(ratio) - power) > _POWER_SLACK:
        return
    length = float(np.median(times[:, 1] - times[:, 0])) / turn_us
    moments = length < _FULL_TURN
    if power > 0 and not moments and length < 0.5 * ratio:
        return
    text = f"sweeps are {step / 1e6:g} s apart, {ratio:.4g} times the sensor's revolution of {turn_us / 1e6:g} s"
    evidence = {"step_us": step, "turn_us": turn_us, "ratio": ratio, "length_us": length * turn_us}
    doubtful = power == 1 and moments  # sweeps without a length, as DDAD's: every tenth one may have been kept
    text += ": every tenth sweep, or stamps in a wrong unit" if doubtful else ": stamps in a wrong unit"
    yield Finding("clock.step", "warning" if doubtful else "error", text, 0, evidence=evidence)
