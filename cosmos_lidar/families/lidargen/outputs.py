"""Generated sweeps as files, numbers and a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.families.lidargen.figure import three_rows
from cosmos_lidar.families.lidargen.generator import LidarGenerator
from cosmos_lidar.families.lidargen.inputs import Frame
from cosmos_lidar.files import atomic_write
from cosmos_lidar.images import open_image
from cosmos_lidar.metrics.backbone_features import BackboneFeatures
from cosmos_lidar.metrics.generation import GenerationProtocol, GenerationScores
from cosmos_lidar.metrics.lidar import RangeProtocol
from cosmos_lidar.metrics.protocol import Measurement, write_measurements
from cosmos_lidar.viz.cloud_figure import Cloud, CloudFrame
from cosmos_lidar.viz.images import write_png
from cosmos_lidar.viz.point_files import write_ply
from cosmos_lidar.viz.report import Report

REPORT = "report.html"
_MOST_SHOWN = 8  # sweeps on the page, evenly over all


def sweep_file(folder: Path, frame: Frame) -> Path:
    """Return the file of a frame's range map and points."""
    return folder / f"{frame.name}.npz"


def write_sweep(folder: Path, frame: Frame, made_m: np.ndarray, points: np.ndarray) -> None:
    """Write the range map, the points and which images they were made from as npz, and the points as ply."""
    made: dict[str, Any] = {"range_m": made_m, "points": points}
    if frame.image_numbers is not None:
        made |= {"image_rule": np.array(frame.image_rule), "image_numbers": np.array(frame.image_numbers())}
    with atomic_write(sweep_file(folder, frame)) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **made)
    write_ply(folder / f"{frame.name}.ply", points)


def write_image(folder: Path, frame: Frame, generator: LidarGenerator, made_m: np.ndarray, points: np.ndarray) -> None:
    """Write the image of three rows: views with the points in them, range maps, clouds."""
    recorded_m = frame.recorded() if frame.recorded else None
    recorded_points = None if recorded_m is None else generator.points(recorded_m)
    image = three_rows(frame.views(points), made_m, points, recorded_m, recorded_points)
    write_png(folder / f"{frame.name}.png", image)


def compare(
    folder: Path, frames: Sequence[Frame], generator: LidarGenerator, backbone: BackboneFeatures | None = None
) -> list[Measurement]:
    """Compare what was written with the recorded sweeps; write ``metrics.json``, ``metrics.csv``.

    Args:
        folder: of the sweeps.
        frames: that were generated.
        generator: that made them.
        backbone: for a Frechet distance of a sparse backbone; None leaves it out.

    Returns:
        The rows of the table; none where no frame has a recording.
    """
    limits = generator.sensor.format
    ranges = RangeProtocol(min_range_m=float(limits.min_range_m), max_range_m=float(limits.max_range_m))
    scores = GenerationScores(GenerationProtocol(ranges=ranges), generator.features(), backbone)
    for frame in frames:
        if frame.recorded:
            recorded_m, made = frame.recorded(), np.load(sweep_file(folder, frame))
            scores.add(frame.clip_id, recorded_m, made["range_m"], generator.points(recorded_m), made["points"])
    if not len(scores):
        return []
    measurements = scores.result()
    write_measurements(folder, measurements)
    return measurements


def write_page(
    folder: Path, frames: Sequence[Frame], generator: LidarGenerator, measurements: Sequence[Measurement], facts: str
) -> Path:
    """Write ``report.html``: the numbers, and some of the sweeps to turn and to look at."""
    report = Report("Lidar from cameras", facts)
    if measurements:
        rows = [(m.name, m.value, m.low, m.high, m.n, m.protocol.hash) for m in measurements]
        columns = ("measure", "value", "95 % from", "to", "sweeps", "protocol")
        report.heading("Results").table(columns, rows, "The settings of each protocol are in metrics.json.")
    shown = [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, _MOST_SHOWN).astype(int))]
    clouds = []
    for frame in shown:
        points = np.load(sweep_file(folder, frame))["points"]
        panels = [Cloud("Generated", points)]
        if frame.recorded:
            panels.insert(0, Cloud("Recorded", generator.points(frame.recorded())))
        clouds.append(CloudFrame(frame.name, panels))
    report.heading("Point clouds").point_clouds(clouds, "Both panels share one camera." if measurements else "")
    images = [folder / f"{frame.name}.png" for frame in shown]
    if any(image.is_file() for image in images):
        report.heading("Images")
    for frame, image in zip(shown, images, strict=True):
        if image.is_file():
            caption = f"{frame.name}: generated points in the views, range maps, clouds"
            with open_image(image) as opened:
                report.image(np.asarray(opened.convert("RGB")), caption)
    return report.write(folder / REPORT)
