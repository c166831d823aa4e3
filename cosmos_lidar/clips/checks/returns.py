"""Returns against the sensor: field of view, numbers of lasers (rings), intensities."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cosmos_lidar.clips.checks._recording import Recording
from cosmos_lidar.clips.clip import LidarStream
from cosmos_lidar.clips.finding import Finding
from cosmos_lidar.clips.sweep import Sweep, to_points
from cosmos_lidar.clips.sweep_counts import statistics_of

TITLE = "points outside the sensor's field of view, rings that are no cones, constant or NaN intensities"
READS = True
_LARGEST_DROPPED_SHARE = 0.5
_SUSPICIOUS_DROPPED_SHARE = 0.25
_RING_SPREAD_DEG = 1.5  # median over rings of the middle 80 % of elevations within one
_FROM_M = 3.0  # parallax between the beams of one lidar bends near cones
_LEAST_POINTS = 500


def check_lidar(recording: Recording, stream: LidarStream) -> Iterator[Finding]:
    """Yield what the returns have that this sensor cannot measure."""
    yield from _outside(recording, stream)
    sweeps = [(index, recording.sweep(stream, index)) for index in recording.counted(stream)]
    read = [(index, sweep) for index, sweep in sweeps if sweep is not None]
    yield from _intensities(read)
    yield from _rings(read, stream)


def _outside(recording: Recording, stream: LidarStream) -> Iterator[Finding]:
    counted = recording.counted(stream)
    statistics = statistics_of(list(counted.values()), stream)
    share = 0.0 if statistics is None or statistics.range_quantiles_m is None else statistics.dropped_share or 0.0
    if share <= _SUSPICIOUS_DROPPED_SHARE:
        return
    index, one = max(counted.items(), key=lambda item: item[1].dropped / max(item[1].points, 1))
    evidence = {"outside_share": share, "frame_outside_share": one.dropped / max(one.points, 1)}
    sweep = recording.sweep(stream, index)
    if sweep is not None and sweep.points is not None:
        elevations = np.degrees(_elevations(sweep.points))
        evidence["elevation_1_50_99_deg"] = np.quantile(elevations, (0.01, 0.5, 0.99))
    beams = np.degrees(stream.sensor.row_elevations_rad[[0, -1]])
    evidence |= {"sensor_elevations_deg": beams, "sensor_max_range_m": stream.sensor.max_range_m}
    text = f"{share:.0%} of the points lie outside the field of view of {stream.sensor.name}: is it another sensor?"
    severity = "error" if share > _LARGEST_DROPPED_SHARE else "warning"
    yield Finding("returns.outside", severity, f"{text} (--sensor)", index, None, evidence)  # type: ignore[arg-type]


def _elevations(points: np.ndarray) -> np.ndarray:
    return np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1]))


def _intensities(read: list[tuple[int, Sweep]]) -> Iterator[Finding]:
    """Yield findings on intensities that are not finite, or the same everywhere in all sweeps read."""
    spans = []
    for index, sweep in read:
        if sweep.intensity is None:
            return
        values = sweep.intensity if sweep.range_m is None else sweep.intensity[sweep.range_m > 0]
        finite = np.isfinite(values)
        if not finite.all():
            count = int(np.count_nonzero(~finite))
            text = f"sweep {index}: {count} of {len(values)} intensities are NaN or infinite"
            yield Finding("returns.intensity_not_finite", "error", text, index, None, {"count": count})
        if len(values) >= _LEAST_POINTS and finite.any():
            spans.append((index, float(values[finite].min()), float(values[finite].max())))
    if spans and all(low == high for _, low, high in spans):
        index, low, _ = spans[0]
        text = f"all intensities of {len(spans)} sweeps are {low:g}: not recorded?"
        yield Finding("returns.intensity_constant", "warning", text, index, None, {"value": low, "sweeps": len(spans)})


def _rings(read: list[tuple[int, Sweep]], stream: LidarStream) -> Iterator[Finding]:
    """Yield a finding where points of one ring do not lie on one cone around the lidar's axis."""
    for index, sweep in read:
        cloud = to_points(sweep, stream.sensor) if sweep.points is not None else None
        if cloud is None or cloud.ring is None or cloud.points is None:
            continue
        far = np.linalg.norm(cloud.points, axis=1) > _FROM_M
        elevation, ring = np.degrees(_elevations(cloud.points[far])), cloud.ring[far]
        found = _spreads(elevation, ring)
        if found is None:
            continue
        spread, ordered = found
        if spread > _RING_SPREAD_DEG:
            text = f"sweep {index}: points of one ring spread over {spread:.1f} degrees of elevation (at most "
            text += f"{_RING_SPREAD_DEG:g}): rings are no lasers, or the points are not in the axes of the lidar"
            evidence = {"spread_deg": spread, "largest_deg": _RING_SPREAD_DEG, "ring_order_correlation": ordered}
            yield Finding("returns.ring", "error", text, index, None, evidence)
            return


def _spreads(elevation: np.ndarray, ring: np.ndarray) -> tuple[float, float] | None:
    """Return the median over rings of the middle 80 % of elevations, and the correlation of rings and elevations."""
    numbers, counts = np.unique(ring, return_counts=True)
    numbers = numbers[counts >= 50]
    if len(elevation) < _LEAST_POINTS or len(numbers) < 4:
        return None
    quantiles = np.array([np.quantile(elevation[ring == number], (0.1, 0.5, 0.9)) for number in numbers])
    order = np.argsort(np.argsort(quantiles[:, 1]))
    correlation = float(np.corrcoef(order, np.arange(len(order)))[0, 1])
    return float(np.median(quantiles[:, 2] - quantiles[:, 0])), correlation
