"""Range-map metrics (RMSE, MAE, relative error, ray drop), pooled over frames, clips, workers and ranks.

The headline numbers follow the published lidar tokenizer command: all pixels whose measured range lies in
(min + 0.1 m, max - 0.1 m), pooled over every frame, with d = measured - decoded in meters:
RMSE = sqrt(mean d^2), MAE = mean |d|, relative error = mean(|d| / (measured + 1e-6)).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

    Array = np.ndarray | torch.Tensor

_COLUMNS = 4  # pixels, sum of d^2, sum of |d|, sum of |d| / range


@dataclass(frozen=True)
class RangeProtocol:
    """Every constant that the range metrics depend on.

    Attributes:
        min_range_m: nearest range that an image can hold.
        max_range_m: farthest range that an image can hold.
        margin_m: a pixel counts when its measured range is inside the limits by more than this.
        buffer_m: a decoded range this near to a limit means "no return"; also the mask of the training callback.
        epsilon_m: added to the measured range in the relative error.
        band_edges_m: ascending limits of the bands of measured range in which errors are also reported.
        histogram_max_m: end of the histogram of |d|; larger errors are counted as overflow.
        histogram_bins: number of bins of that histogram.
    """

    min_range_m: float = 5.0
    max_range_m: float = 100.0
    margin_m: float = 0.1
    buffer_m: float = 0.5
    epsilon_m: float = 1e-6
    band_edges_m: tuple[float, ...] = (5.0, 10.0, 20.0, 30.0, 50.0, 75.0, 100.0)
    histogram_max_m: float = 10.0
    histogram_bins: int = 100


@dataclass(frozen=True)
class ErrorSummary:
    """Errors over a set of pixels; NaN where there is no pixel.

    Attributes:
        pixels: number of pixels that were compared.
        rmse_m: root of the mean squared difference.
        mae_m: mean absolute difference.
        relative: mean of |difference| / measured range.
    """

    pixels: int
    rmse_m: float
    mae_m: float
    relative: float


@dataclass(frozen=True)
class BandSummary:
    """:class:`ErrorSummary` of the pixels whose measured range is in [near_m, far_m)."""

    near_m: float
    far_m: float
    errors: ErrorSummary


@dataclass(frozen=True)
class DropSummary:
    """How well "no return" is reproduced; the positive class is a pixel without a return.

    Measured returns nearer or farther than images can hold (within ``buffer_m`` of a limit, or beyond) are ignored.

    Attributes:
        dropped: pixels without a return in the measurement.
        returned: pixels with one.
        precision: fraction of decoded "no return" that was right; its complement are lost returns.
        recall: fraction of measured "no return" that was decoded so; its complement are spurious returns.
        f1: harmonic mean of the two.
    """

    dropped: int
    returned: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class RangeResult:
    """Result of :class:`RangeErrors`.

    Attributes:
        published: errors with the mask of the published command (measured range only).
        both_valid: errors with the mask of the published training callback: measured and decoded range both farther
            than ``buffer_m`` from the limits.
        bands: errors by measured range, with the mask of ``published``.
        ray_drop: how well missing returns are reproduced.
        histogram: pixels per bin of |d| over [0, histogram_max_m].
        histogram_overflow: pixels with a larger |d|.
    """

    published: ErrorSummary
    both_valid: ErrorSummary
    bands: tuple[BandSummary, ...]
    ray_drop: DropSummary
    histogram: tuple[int, ...]
    histogram_overflow: int

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain values at full precision for a JSON file; a number that does not exist is None."""
        return _without_nan(asdict(self))


class RangeErrors:
    """Pooled range errors. Add frames in any order and grouping: the result is that of all pixels at once.

    Args:
        protocol: the constants; accumulators can only be merged when they are equal.
    """

    def __init__(self, protocol: RangeProtocol | None = None) -> None:
        self.protocol = protocol or RangeProtocol()
        bands = len(self.protocol.band_edges_m) - 1
        self._errors = np.zeros((2 + bands, _COLUMNS))  # row 0 published, row 1 both valid, then one per band
        self._drop = np.zeros((2, 2))  # [measured no return, decoded no return]
        self._histogram = np.zeros(self.protocol.histogram_bins + 1)  # the last bin is the overflow

    def add(
        self,
        reference_m: Array,
        reconstruction_m: Array,
        valid: Array | None = None,
        returns: Array | None = None,
    ) -> None:
        """Compare a frame, or a batch of any shape.

        Args:
            reference_m: (...) meters as measured, 0 = no return, not clipped.
            reconstruction_m: same shape, meters as decoded, *before* pixels are set to "no return".
            valid: same shape, bool: only these pixels are compared, and of them only those inside the limits by more
                than ``margin_m``; all by default.
            returns: same shape, bool: pixels that are decoded as returns; by default those whose decoded range is
                inside the limits by more than ``buffer_m``.

        Raises:
            ValueError: the shapes differ.
        """
        optional = [np.shape(mask) for mask in (valid, returns) if mask is not None]
        shapes = {np.shape(reference_m), np.shape(reconstruction_m), *optional}
        if len(shapes) > 1:
            raise ValueError(f"shapes differ: {', '.join(map(str, sorted(shapes)))}")
        reference, decoded = _flat(reference_m), _flat(reconstruction_m)
        counts = self.in_window(reference) & (True if valid is None else _flat(valid).astype(bool))
        made = self._inside(decoded, self.protocol.buffer_m) if returns is None else _flat(returns).astype(bool)
        self._add_errors(reference, decoded, counts, made)
        self._add_drop(reference, made)

    def in_window(self, reference_m: np.ndarray) -> np.ndarray:
        """Return the mask of the published command: inside the range limits by more than the margin."""
        return self._inside(reference_m, self.protocol.margin_m)

    def _inside(self, range_m: np.ndarray, margin_m: float) -> np.ndarray:
        low, high = self.protocol.min_range_m + margin_m, self.protocol.max_range_m - margin_m
        return (range_m > low) & (range_m < high)

    def _add_errors(self, reference: np.ndarray, decoded: np.ndarray, counts: np.ndarray, returns: np.ndarray) -> None:
        measured, decoded = reference[counts], decoded[counts]
        error = np.abs(measured - decoded)
        terms = np.stack((np.ones_like(error), error**2, error, error / (measured + self.protocol.epsilon_m)), axis=1)
        both = self._inside(measured, self.protocol.buffer_m) & returns[counts]
        self._errors[0] += terms.sum(axis=0)
        self._errors[1] += terms[both].sum(axis=0)
        band = np.digitize(measured, self.protocol.band_edges_m) - 1
        for index in range(len(self._errors) - 2):
            self._errors[2 + index] += terms[band == index].sum(axis=0)
        bins, width = self.protocol.histogram_bins, self.protocol.histogram_max_m / self.protocol.histogram_bins
        placed = np.minimum(error[np.isfinite(error)] / width, bins).astype(np.int64)
        self._histogram += np.bincount(placed, minlength=bins + 1)

    def _add_drop(self, reference: np.ndarray, returns: np.ndarray) -> None:
        none, some = reference <= 0.0, self._inside(reference, self.protocol.buffer_m)
        lost = ~returns
        self._drop += [[np.sum(none & lost), np.sum(none & ~lost)], [np.sum(some & lost), np.sum(some & ~lost)]]

    def merge(self, other: RangeErrors) -> None:
        """Add the pixels of another accumulator, such as that of another clip or worker.

        Raises:
            ValueError: the other one was made with other constants.
        """
        if other.protocol != self.protocol:
            raise ValueError(f"protocols differ: {self.protocol}, {other.protocol}")
        self.load_state(self.state() + other.state())

    def state(self) -> np.ndarray:
        """Return all sums as one float64 vector: vectors of ranks may simply be added (all-reduce)."""
        return np.concatenate((self._errors.ravel(), self._drop.ravel(), self._histogram))

    def load_state(self, state: np.ndarray) -> None:
        """Replace the sums by those of a vector that :meth:`state` gave, or a sum of such vectors."""
        first = self._errors.size
        self._errors = np.asarray(state[:first], np.float64).reshape(self._errors.shape)
        self._drop = np.asarray(state[first : first + 4], np.float64).reshape(2, 2)
        self._histogram = np.array(state[first + 4 :], np.float64)

    def published_sums(self) -> np.ndarray:
        """Return (4,): pixels, sum of d^2, of |d| and of |d| / range, with the mask of the published command."""
        return self._errors[0].copy()

    def result(self) -> RangeResult:
        """Return the metrics of everything added so far."""
        edges = self.protocol.band_edges_m
        bands = zip(edges[:-1], edges[1:], self._errors[2:], strict=True)
        counts = [int(count) for count in self._histogram]
        return RangeResult(
            published=_summary(self._errors[0]),
            both_valid=_summary(self._errors[1]),
            bands=tuple(BandSummary(near, far, _summary(sums)) for near, far, sums in bands),
            ray_drop=_drop_summary(self._drop),
            histogram=tuple(counts[:-1]),
            histogram_overflow=counts[-1],
        )


def _summary(sums: np.ndarray) -> ErrorSummary:
    count, squared, absolute, relative = (float(value) for value in sums)
    if not count:
        return ErrorSummary(0, math.nan, math.nan, math.nan)
    return ErrorSummary(int(count), math.sqrt(squared / count), absolute / count, relative / count)


def _drop_summary(table: np.ndarray) -> DropSummary:
    (right, invented), (lost, kept) = table.tolist()
    precision, recall = _ratio(right, right + lost), _ratio(right, right + invented)
    f1 = _ratio(2.0 * right, 2.0 * right + lost + invented)
    return DropSummary(int(right + invented), int(lost + kept), precision, recall, f1)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _flat(values: Array) -> np.ndarray:
    """Return any array or tensor as a flat numpy array; floating values as float64, so that sums are exact enough."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = (values.double() if values.is_floating_point() else values).numpy()
    values = np.asarray(values)
    return values.reshape(-1).astype(np.float64) if values.dtype.kind == "f" else values.reshape(-1)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
