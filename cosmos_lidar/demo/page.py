"""The demo's page: a section for each model family, and what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cosmos_lidar.demo.section import Section
from cosmos_lidar.files import write_json
from cosmos_lidar.viz.report import Report

TITLE = "cosmos-lidar: demo"
_INTRODUCTION = (
    "Every model here is small, comes with the package, and was trained on synthetic drives on a CPU. The command "
    "below each part does the same on other recordings."
)


def write_page(out: Path, remark: str, sections: Sequence[Section], left_out: Sequence[tuple[str, str]]) -> Path:
    """Write ``OUT/report.html`` and the numbers, ``OUT/metrics.json``.

    Args:
        out: folder of the demo.
        remark: what the recordings are.
        sections: from top to bottom.
        left_out: heading and reason of parts that are not there.

    Returns:
        The page.
    """
    report = Report(TITLE, remark).text(_INTRODUCTION)
    for section in sections:
        section.add_to(report)
    omitted = [*left_out, *((section.title, text) for section in sections for text in section.omitted)]
    if omitted:
        report.heading("Left out").facts(omitted)
    numbers = {section.title: section.numbers for section in sections}
    write_json(out / "metrics.json", {"recordings": remark, "sections": numbers, "left_out": dict(omitted)})
    return report.write(out / "report.html")
