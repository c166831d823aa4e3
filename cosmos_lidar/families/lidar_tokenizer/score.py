"""Everything that is measured about the reconstruction of a clip, and the protocol that is written beside it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from cosmos_lidar.families.lidar_tokenizer.autoencode import AutoencodeOptions, DecodedFrame, frame_points
from cosmos_lidar.metrics import Scores, find_metrics
from cosmos_lidar.metrics.backbone_features import COLUMN, BackboneDistance, BackboneFeatures, backbone_protocol
from cosmos_lidar.metrics.lidar import RangeErrors
from cosmos_lidar.metrics.pairs import RangePair
from cosmos_lidar.metrics.range_errors import FORMULAS, RangeErrorSums
from cosmos_lidar.sensors import Sensor

# The metrics that ``protocol.hash`` covers. Others have a hash of their own beside it: a metric that is added leaves
# results comparable that were measured before.
_HASHED = ("chamfer", "range_errors", "range_psnr")


class ClipScore:
    """Metrics of one clip, fed frame by frame: those of ``cosmos_lidar/metrics`` that ``evaluate`` shows.

    Args:
        options: how the frames were made.
        directions: (rows, columns of the full map, 3) rays; None to leave out point clouds and Chamfer distances.
        features: of a sparse backbone, for a Frechet distance of the same point clouds; None leaves it out.
        chamfer: False leaves out the Chamfer distances alone.
    """

    def __init__(
        self,
        options: AutoencodeOptions,
        directions: np.ndarray | None,
        features: BackboneFeatures | None = None,
        chamfer: bool = True,
    ) -> None:
        self.options, self.directions, points = options, directions, chamfer and directions is not None
        self.scores = Scores("evaluate", "ranges", options.range_protocol(), points=points)
        self.backbone = None if features is None else BackboneDistance(features)
        self.frames, self.seconds = 0, 0.0

    def add(self, frame: DecodedFrame) -> None:
        """Compare one more frame."""
        points = None if self.directions is None else partial(_points, frame, self.directions)
        self.scores.add(RangePair(frame.reference_m, frame.decoded_m, points=points, returns=frame.decoded_return))
        if self.backbone is not None and points is not None:
            self.backbone.add(points())
        self.frames += 1
        self.seconds += frame.seconds

    def merge(self, other: ClipScore) -> None:
        """Add what was measured on another clip."""
        self.scores.merge(other.scores)
        if self.backbone is not None and other.backbone is not None:
            self.backbone.merge(other.backbone)
        self.frames += other.frames
        self.seconds += other.seconds

    @property
    def errors(self) -> RangeErrors:
        """Range errors, for histograms and intervals."""
        sums = self.scores.accumulators["range_errors"]
        assert isinstance(sums, RangeErrorSums)
        return sums.errors

    def columns(self) -> dict[str, float]:
        """Return the numbers of a table by column; NaN where there is no value."""
        return self.scores.result() | ({} if self.backbone is None else self.backbone.result())

    def to_dict(self) -> dict[str, Any]:
        """Return all metrics as plain values at full precision; a number that does not exist is None."""
        parts = self.scores.document() | ({} if self.backbone is None else self.backbone.document())
        return {"frames": self.frames, **parts, "encode_decode_seconds": self.seconds}


def _points(frame: DecodedFrame, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the recorded and the reconstructed points of a frame."""
    recorded, made = (frame_points(x, frame.source, directions) for x in (frame.reference_m, frame.reconstruction_m))
    return recorded, made


def describe_protocol(
    sensor: Sensor,
    options: AutoencodeOptions,
    dtype: str,
    max_frames: int,
    features: BackboneFeatures | None = None,
    validity: bool = False,
) -> dict[str, Any]:
    """Return everything that the numbers depend on besides network and data, with a hash of it.

    Two results may be compared when their hashes are equal. Metrics that are not part of it have theirs in ``others``.

    Args:
        sensor: of the clips.
        options: how maps go through the tokenizer.
        dtype: of the tokenizer.
        max_frames: first frames of each clip; -1 for all.
        features: of the Frechet distance of a sparse backbone, where there is one.
        validity: the tokenizer decodes validity, by which missing returns are counted.
    """
    image = {key: value for key, value in asdict(options).items() if key not in ("batch_size", "format")}
    if options.max_error_m is None:
        image.pop("max_error_m")
    metrics = find_metrics("evaluate", "ranges")
    document: dict[str, Any] = {
        "sensor": {"name": sensor.name, "shape": list(sensor.shape)},
        "picture": {
            "merge_columns": options.format.pair_columns,
            "repeat_rows": options.format.repeat_rows,
            **image,
        },
        "tokenizer_dtype": dtype,
        "max_frames": max_frames,
        "metrics": asdict(options.range_protocol()),
        "formulas": {**FORMULAS, "psnr_db": metrics["range_psnr"].definition},
        "chamfer": {**metrics["chamfer"].settings, "definition": metrics["chamfer"].definition},
    }
    if validity:
        document["returns"] = "pixels whose decoded probability of a return is above one half"
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]
    protocols = {name: metric.protocol(name) for name, metric in metrics.items() if name not in _HASHED}
    if features is not None:
        protocols[COLUMN] = backbone_protocol(features.name)
    others = {name: {"hash": protocol.hash, **protocol.to_dict()} for name, protocol in protocols.items()}
    return {"hash": digest, **document, **({"others": others} if others else {})}
