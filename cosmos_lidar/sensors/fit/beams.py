"""Which beam each point is of: by ring number, by the order in the file, or by lines in the elevations."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.fit.cloud import Cloud, wrapped

FAR_M = 20.0  # angular errors count beyond: nearer, the beams' different origins matter
_NEARER_M = (FAR_M, 10.0, 5.0, 2.0, 0.0)  # elevations are of the farthest points of a beam that are enough
_ENOUGH = 50
_FEWEST_ROWS, _MOST_ROWS = 4, 512
_PURE = 0.6  # share of far points whose own beam is the nearest in elevation, of a spinning lidar
_FINEST_DEG, _COARSEST_DEG = 0.0025, 0.6
_IN_LINES = 0.9  # share of points near lines of a spinning lidar
_LEAST_LINE = 0.05  # of the points of the usual line
_SEAM_RAD = np.radians(0.2)  # points that far before the seam, where beams begin, may already be of the next beam
_CONTRAST = 3.0  # density of a line against that between lines


@dataclass(frozen=True, eq=False)
class Beams:
    """The beams, highest first.

    Attributes:
        elevations_rad: (rows,) descending.
        row: (N,) beam of each point, -1 for none.
        how: what told the beams apart.
        names: (rows,) ring numbers in the recording; None without.
        notes: remarks.
    """

    elevations_rad: np.ndarray
    row: np.ndarray
    how: str
    names: np.ndarray | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def rows(self) -> int:
        """Number of beams."""
        return len(self.elevations_rad)


def find_beams(cloud: Cloud, rows: int | None = None) -> Beams:
    """Return the beams of the points of a spinning lidar.

    Args:
        cloud: the points.
        rows: number of beams, where it is known; checked.

    Raises:
        DataError: the points are of no spinning lidar, or of another number of beams.
    """
    if cloud.ring is not None:
        names, row = np.unique(cloud.ring, return_inverse=True)
        beams = _sorted(cloud, row, "ring numbers", names)
    else:
        beams = _by_order(cloud) or _by_lines(cloud)
    if rows is not None and beams.rows != rows:
        raise DataError(f"{beams.rows} beams, by {beams.how}", key="rows", wanted=f"{rows}")
    _check_spinning(cloud, beams)
    return beams


def row_medians(cloud: Cloud, row: np.ndarray, count: int) -> np.ndarray:
    """Return (count,) median elevations of the farthest points of each beam; NaN for beams of under 5 points."""
    elevation, range_m = cloud.elevation_rad, cloud.range_m
    order = np.argsort(row, kind="stable")
    ends = np.searchsorted(row[order], np.arange(count + 1))
    found = np.full(count, np.nan)
    for beam in range(count):
        mine = order[ends[beam] : ends[beam + 1]]
        for least in _NEARER_M:
            far = mine[range_m[mine] > least]
            if len(far) >= (_ENOUGH if least else 5):
                found[beam] = np.median(elevation[far])
                break
    return found


def refined(cloud: Cloud, beams: Beams) -> Beams:
    """Return the same beams with their elevations from other points of them, such as from another origin."""
    return _sorted(cloud, beams.row, beams.how, beams.names)


def _sorted(cloud: Cloud, row: np.ndarray, how: str, names: np.ndarray | None = None) -> Beams:
    """Return beams from highest to lowest; those of hardly any points are left out."""
    count = int(row.max()) + 1 if names is None else len(names)
    medians = row_medians(cloud, row, count)
    order = np.argsort(-medians, kind="stable")
    order = order[np.isfinite(medians[order])]
    elevations = medians[order]
    place = np.full(count + 1, -1)
    place[order] = np.arange(len(order))
    notes = []
    if len(order) < count:
        lost = [str(number if names is None else names[number]) for number in np.flatnonzero(~np.isfinite(medians))]
        notes.append(f"left out, too few points: beam {', '.join(lost)}")
    for upper in np.flatnonzero(np.diff(elevations) >= 0):  # two beams of one elevation: the sensor file wants an order
        elevations[upper + 1] = elevations[upper] - 1e-7
    return Beams(elevations, place[row], how, None if names is None else names[order], tuple(notes))


def _by_order(cloud: Cloud) -> Beams | None:
    """Beams one after the other in the file, each a turn (KITTI): counted by the azimuth; None for another order."""
    azimuth, turn = cloud.azimuth_rad, np.zeros(len(cloud), np.int64)
    for number in np.unique(cloud.sweep):
        mine = np.flatnonzero(cloud.sweep == number)
        steps = wrapped(np.diff(azimuth[mine]))
        way = np.sign(np.median(steps)) or 1.0
        turned = _SEAM_RAD + np.concatenate([[0.0], np.cumsum(way * steps)])
        turn[mine] = np.clip(np.floor(turned / (2.0 * np.pi)), 0, _MOST_ROWS).astype(np.int64)
    if not _FEWEST_ROWS <= turn.max() + 1 <= _MOST_ROWS:
        return None
    beams = replace(_sorted(cloud, turn, "the order in the file, a turn per beam"), notes=())
    return beams if beams.rows >= _FEWEST_ROWS and purity(cloud, beams) >= _PURE else None


def _by_lines(cloud: Cloud) -> Beams:
    """Beams are lines in the histogram of elevations, at the finest resolution that holds most points in lines.

    Raises:
        DataError: elevations do not gather in lines.
    """
    elevation = np.degrees(cloud.elevation_rad)
    # Angular noise, and the shift between the beams' origins, fall with the range.
    weight = np.minimum(cloud.range_m, FAR_M) ** 2
    width = _FINEST_DEG
    best = 0.0
    while width <= _COARSEST_DEG:
        lines, share = _lines(elevation, weight, width)
        best = max(best, share)
        if share >= _IN_LINES and _FEWEST_ROWS <= len(lines) <= _MOST_ROWS:
            return _settled(cloud, np.radians(_of_weight(lines, elevation)[::-1]), width)
        width *= 1.5
    raise DataError(
        f"no beams: at best {best:.0%} of the points lie on lines of one elevation, and they have no ring numbers",
        wanted="sweeps of a spinning lidar, as it saw them (not motion-compensated, from its own origin); scanners "
        "that do not spin can only be mapped to an evenly spaced grid",
    )


def _of_weight(lines: np.ndarray, elevation: np.ndarray) -> np.ndarray:
    """Return the lines without those that hold hardly any points beside their neighbors."""
    counts = np.bincount(np.searchsorted((lines[:-1] + lines[1:]) / 2, elevation), minlength=len(lines))
    return lines[counts >= _LEAST_LINE * np.median(counts)]


def _lines(elevation: np.ndarray, weight: np.ndarray, width: float) -> tuple[np.ndarray, float]:
    """Return the ascending elevations of lines, and the share of the weight within ``width`` of one."""
    bin_width = width / 2
    first = elevation.min() - 4 * bin_width
    index = ((elevation - first) / bin_width).astype(np.int64)
    density = np.bincount(index, weight, minlength=int(index.max()) + 5)
    smooth = np.convolve(density, [0.25, 0.5, 0.25], "same")
    peaks = np.flatnonzero((smooth[1:-1] > smooth[:-2]) & (smooth[1:-1] >= smooth[2:])) + 1
    peaks = _prominent(smooth, peaks)
    if not len(peaks):
        return np.zeros(0), 0.0
    lines = first + (peaks + 0.5) * bin_width
    nearest = np.clip(np.searchsorted(lines, elevation), 1, max(len(lines) - 1, 1))
    left, right = lines[nearest - 1], lines[np.minimum(nearest, len(lines) - 1)]
    close = np.minimum(np.abs(elevation - left), np.abs(elevation - right)) <= width
    return lines, float(weight[close].sum() / weight.sum())


def _prominent(density: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """Return the peaks that stand above the density between them and the next higher one; lowest go first."""
    kept = list(peaks)
    floors = [density[a:b].min() for a, b in zip(peaks[:-1], peaks[1:], strict=True)]
    for number in sorted(range(len(peaks)), key=lambda one: density[peaks[one]]):
        at = kept.index(peaks[number])
        valleys = floors[max(at - 1, 0) : at + 1] if 0 < at < len(kept) - 1 else floors[:1] if at == 0 else floors[-1:]
        if valleys and density[peaks[number]] < _CONTRAST * max(valleys):
            del kept[at]
            if 0 < at < len(floors):
                floors[at - 1 : at + 1] = [min(floors[at - 1 : at + 1])]
            else:
                del floors[0 if at == 0 else -1]
    return np.array(kept, np.int64)


def _settled(cloud: Cloud, elevations: np.ndarray, width_deg: float) -> Beams:
    """Return beams after points and elevations have been matched to each other twice."""
    how = f"lines in the elevations, {width_deg:.2g} degrees wide"
    beams = _sorted(cloud, nearest_row(cloud.elevation_rad, elevations), how)
    return _sorted(cloud, nearest_row(cloud.elevation_rad, beams.elevations_rad), how)


def nearest_row(elevation: np.ndarray, elevations_rad: np.ndarray) -> np.ndarray:
    """Return the number of the nearest of descending elevations, for each point."""
    ascending = elevations_rad[::-1]
    between = (ascending[:-1] + ascending[1:]) / 2
    return len(elevations_rad) - 1 - np.searchsorted(between, elevation)


def purity(cloud: Cloud, beams: Beams) -> float:
    """Return the share of far points whose own beam is the nearest in elevation."""
    far = (cloud.range_m > FAR_M) & (beams.row >= 0)
    if not far.any():
        far = beams.row >= 0
    return float((nearest_row(cloud.elevation_rad[far], beams.elevations_rad) == beams.row[far]).mean())


def _check_spinning(cloud: Cloud, beams: Beams) -> None:
    if beams.rows > 1 and (share := purity(cloud, beams)) < _PURE:
        raise DataError(
            f"not a spinning lidar: only {share:.0%} of the far points are nearest to their own beam, by {beams.how}",
            wanted="sweeps of a spinning lidar, as it saw them (not motion-compensated, from its own origin)",
        )
