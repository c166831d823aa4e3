"""Metrics of generated lidar: the published distances between generated and recorded sweeps.

Each number has the 95 % interval of resampled clips, the number of samples, and the hash of everything that it depends
on. Frames of one drive resemble each other, so whole clips are resampled; the distances between sets are biased for few
samples (see :mod:`cosmos_lidar.metrics.bev` and :mod:`cosmos_lidar.metrics.frechet`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import numpy as np

from cosmos_lidar.errors import DataError
from cosmos_lidar.metrics import Scores, find_metrics, pooled
from cosmos_lidar.metrics.backbone_features import COLUMN, BackboneFeatures
from cosmos_lidar.metrics.bev import BANDWIDTH, BevGrid, KernelMeans, bev_histogram, jensen_shannon
from cosmos_lidar.metrics.bootstrap import interval_of_draws, resample_clips
from cosmos_lidar.metrics.chamfer import DEFINITION as CHAMFER
from cosmos_lidar.metrics.chamfer import chamfer_distance
from cosmos_lidar.metrics.frechet import frechet_of_weighted, frechet_protocol
from cosmos_lidar.metrics.lidar import RangeProtocol
from cosmos_lidar.metrics.pairs import RangePair
from cosmos_lidar.metrics.protocol import Measurement, Protocol
from cosmos_lidar.metrics.range_features import RangeFeatures
from cosmos_lidar.metrics.ray_drop import DEFINITION as RAY_DROP
from cosmos_lidar.metrics.ray_drop import RayDropScores, ray_drop_counts, ray_drop_scores

_JSD = (
    "square root of the Jensen-Shannon divergence (nats) between the mean bird's-eye-view histograms of both sets, "
    "each histogram scaled to a sum of 1"
)
_MMD = "squared maximum mean discrepancy (biased estimate) of bird's-eye-view histograms that sum to 1, Gaussian kernel"


@dataclass(frozen=True)
class GenerationProtocol:
    """Every constant that the table depends on.

    Attributes:
        chamfer_window_m: points with a distance from the sensor in this interval are compared (published: 5 to 65 m).
        grid: of the histograms.
        bandwidth: of the MMD's kernel.
        resamplings: of clips, for the intervals.
        seed: of the resampling.
        ranges: limits and constants of further metrics.
    """

    chamfer_window_m: tuple[float, float] = (5.0, 65.0)
    grid: BevGrid = field(default_factory=BevGrid)
    bandwidth: float = BANDWIDTH
    resamplings: int = 200
    seed: int = 0
    ranges: RangeProtocol = field(default_factory=RangeProtocol)


@dataclass
class _Samples:
    """Data kept per sample, in order of addition."""

    clips: list[str] = field(default_factory=list)
    chamfer: list[tuple[float, float]] = field(default_factory=list)  # plain and squared
    histograms: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)  # recorded, generated
    rays: list[np.ndarray] = field(default_factory=list)
    features: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    backbone: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    others: list[Scores] = field(default_factory=list)  # metrics of files that have columns of ``generate``


class GenerationScores:
    """Compare generated with recorded sweeps, one pair after the other; some 80 kB are kept of each.

    Args:
        protocol: the constants.
        features: describes range maps, for the Frechet range distance; None leaves it out.
        backbone: describes point clouds, for the Frechet distance of a sparse backbone; None leaves it out.
    """

    def __init__(
        self,
        protocol: GenerationProtocol | None = None,
        features: RangeFeatures | None = None,
        backbone: BackboneFeatures | None = None,
    ) -> None:
        self.protocol, self.features, self.backbone = protocol or GenerationProtocol(), features, backbone
        self._kept = _Samples()

    def __len__(self) -> int:
        return len(self._kept.clips)

    def add(
        self,
        clip: str,
        reference_m: np.ndarray,
        generated_m: np.ndarray,
        reference_points_m: np.ndarray,
        generated_points_m: np.ndarray,
    ) -> None:
        """Add one generated sweep and the recorded sweep of the same frame.

        Args:
            clip: name of the clip, the unit of resampling.
            reference_m: (rows, columns) recorded range map, meters, 0 = no return.
            generated_m: of the same shape.
            reference_points_m: (N, 3) recorded points in the sensor frame.
            generated_points_m: (M, 3) likewise.

        Raises:
            DataError: maps of different shapes, or no point arrays; the message names the clip.
        """
        try:
            rays = ray_drop_counts(reference_m, generated_m)
            histograms = [bev_histogram(x, self.protocol.grid) for x in (reference_points_m, generated_points_m)]
        except DataError as error:
            raise error.at(clip=clip) from error
        distance = chamfer_distance(reference_points_m, generated_points_m, self.protocol.chamfer_window_m)
        kept = self._kept
        if self.features is not None:
            vectors = self.features(np.stack([reference_m, generated_m]))
            kept.features.append((vectors[0], vectors[1]))
        if self.backbone is not None:
            vectors = self.backbone([reference_points_m, generated_points_m])
            kept.backbone.append((vectors[0], vectors[1]))
        others = Scores("generate", "ranges", self.protocol.ranges, points=True)
        others.add(RangePair(reference_m, generated_m, points=lambda: (reference_points_m, generated_points_m)))
        kept.others.append(others)
        kept.clips.append(clip)
        kept.rays.append(rays)
        kept.chamfer.append((distance.chamfer_m, distance.chamfer_squared_m2))
        kept.histograms.append((histograms[0].astype(np.float32), histograms[1].astype(np.float32)))

    @property
    def chamfer_m(self) -> np.ndarray:
        """(N,) Chamfer distance of each sample, in order of addition; NaN where a cloud is empty."""
        return np.array([plain for plain, _ in self._kept.chamfer])

    def merge(self, other: GenerationScores) -> None:
        """Add the samples of another accumulator, such as that of another rank.

        Raises:
            DataError: it was made with other constants or features.
        """
        if other.protocol != self.protocol or other._sources() != self._sources():
            raise DataError("scores of different protocols or features", wanted="the same in every process")
        for name, values in vars(other._kept).items():
            getattr(self._kept, name).extend(values)

    def result(self) -> list[Measurement]:
        """Return the rows of the table.

        Raises:
            DataError: no samples.
        """
        if not len(self):
            raise DataError("no samples", wanted="at least one generated sweep and its recording")
        draws = resample_clips(self._kept.clips, self.protocol.resamplings, self.protocol.seed)
        rows = [*self._chamfer(draws), *self._seen_from_above(draws), *self._ray_drop(draws)]
        if self.features is not None and len(self) > 1:
            rows.append(self._frechet("frechet_range_distance", self.features.name, self._kept.features, draws))
        if self.backbone is not None and len(self) > 1:
            rows.append(self._frechet(COLUMN, self.backbone.name, self._kept.backbone, draws))
        return [*rows, *self._others(draws)]

    def _sources(self) -> list[str | None]:
        return [one.name if one is not None else None for one in (self.features, self.backbone)]

    def _chamfer(self, draws: np.ndarray) -> list[Measurement]:
        values = np.array(self._kept.chamfer)
        there = np.isfinite(values[:, 0])
        values, draws = values[there], draws[:, there]
        protocol = self._protocol("chamfer", CHAMFER, window_m=list(self.protocol.chamfer_window_m))
        kinds: dict[str, tuple[int, Callable[[np.ndarray], float]]] = {
            "chamfer_mean_m": (0, np.mean),
            "chamfer_median_m": (0, np.median),
            "chamfer_best_m": (0, np.min),
            "chamfer_squared_mean_m2": (1, np.mean),
        }
        rows = []
        for name, (column, summary) in kinds.items():
            found = [_summary(summary, np.repeat(values[:, column], times)) for times in draws]
            interval = interval_of_draws(found)
            value = _summary(summary, values[:, column])
            rows.append(Measurement(name, value, interval.low, interval.high, len(values), protocol))
        return rows

    def _seen_from_above(self, draws: np.ndarray) -> list[Measurement]:
        recorded, made = (np.stack(side).reshape(len(self), -1) for side in zip(*self._kept.histograms, strict=True))
        kernel, grid = KernelMeans(recorded, made, self.protocol.bandwidth), asdict(self.protocol.grid)
        jsd = self._protocol("jsd", _JSD, **grid)
        mmd = self._protocol("mmd", _MMD, **grid, bandwidth=self.protocol.bandwidth)
        return [
            self._set_distance("jsd", lambda times: _jensen_shannon(times @ recorded, times @ made), draws, jsd),
            self._set_distance("mmd", lambda times: kernel.mmd(times, times), draws, mmd),
        ]

    def _ray_drop(self, draws: np.ndarray) -> list[Measurement]:
        counts = np.stack(self._kept.rays)
        scores, protocol = ray_drop_scores(counts.sum(0)), self._protocol("ray_drop", RAY_DROP)
        drawn = [ray_drop_scores(times @ counts) for times in draws]
        rows = []
        for name in RayDropScores.__dataclass_fields__:
            interval = interval_of_draws([getattr(found, name) for found in drawn])
            value = getattr(scores, name)
            rows.append(Measurement(f"ray_drop_{name}", value, interval.low, interval.high, len(self), protocol))
        return rows

    def _frechet(
        self, name: str, source: str, kept: list[tuple[np.ndarray, np.ndarray]], draws: np.ndarray
    ) -> Measurement:
        recorded, made = (np.stack(side) for side in zip(*kept, strict=True))
        published = frechet_protocol(name, source)
        protocol = self._protocol(published.metric, published.definition, **published.settings)

        def statistic(times: np.ndarray) -> float:
            return frechet_of_weighted(recorded, made, (times, times))

        return self._set_distance(published.metric, statistic, draws, protocol)

    def _others(self, draws: np.ndarray) -> list[Measurement]:
        """Return the columns of metrics found by listing; an interval is that of resampled clips."""
        kept, rows, metrics = self._kept.others, [], find_metrics("generate", "ranges")
        if not metrics:
            return []
        drawn = [pooled([kept[i] for i in np.repeat(np.arange(len(kept)), times)]) for times in draws]
        values = pooled(kept)
        for name, metric in metrics.items():
            protocol = self._protocol(name, metric.definition, **metric.settings, ranges=asdict(self.protocol.ranges))
            for column in metric.columns["generate"]:
                interval = interval_of_draws([found[column] for found in drawn])
                row = Measurement(column, values[column], interval.low, interval.high, len(self), protocol)
                rows.append(row)
        return rows

    def _set_distance(
        self, name: str, statistic: Callable[[np.ndarray], float], draws: np.ndarray, protocol: Protocol
    ) -> Measurement:
        value = statistic(np.ones(len(self)))
        interval = interval_of_draws([statistic(times) for times in draws], around=value)
        return Measurement(name, value, interval.low, interval.high, len(self), protocol)

    def _protocol(self, metric: str, definition: str, **settings: object) -> Protocol:
        interval = f"95 %, {self.protocol.resamplings} draws of clips, seed {self.protocol.seed}"
        return Protocol(metric, definition, {**settings, "interval": interval})


def _summary(summary: Callable[[np.ndarray], float], values: np.ndarray) -> float:
    return float(summary(values)) if len(values) else float("nan")


def _jensen_shannon(recorded: np.ndarray, made: np.ndarray) -> float:
    """Return the distance; NaN when all clouds of a set are empty, which is reported, not an error."""
    return jensen_shannon(recorded, made) if recorded.any() and made.any() else float("nan")
