"""The demo: recordings, then each model family in turn, then one page; a second call resumes and redoes little."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmos_lidar.demo.page import write_page
from cosmos_lidar.demo.recordings import Recordings, real_recordings
from cosmos_lidar.demo.section import DemoContext, LeftOutError, Section, TrainingStoppedError
from cosmos_lidar.demo.synthetic import synthetic_recordings, top_up
from cosmos_lidar.errors import problem_of
from cosmos_lidar.log import logger

PARTS = ("lidar_tokenizer", "images", "camera_to_lidar", "multiview", "segmentation")  # modules, in the page's order


@dataclass(frozen=True)
class DemoOptions:
    """Options of the demo.

    Attributes:
        out: folder of all results.
        data: recordings; None makes synthetic drives.
        format: reader of ``data``; None recognizes it.
        drives: number of synthetic drives for the lidar tokenizer.
        steps: most steps of each training; None for those of the recipes.
        lidar: which of ``data``, where it has several; None takes the main one.
    """

    out: Path
    data: Path | None = None
    format: str | None = None
    drives: int = 4
    steps: int | None = None
    lidar: str | None = None


def run_demo(options: DemoOptions) -> int:
    """Show every model family on the recordings and write ``OUT/report.html`` and ``OUT/metrics.json``.

    What the recordings do not allow is left out, and listed on the page with the reason.

    Returns:
        0, or the number of the signal that stopped a training, whose checkpoint the next call continues from.

    Raises:
        DataError: no recordings in ``data``.
    """
    logger.info("1/%d recordings", len(PARTS) + 1)
    recordings = _recordings(options)
    context = DemoContext(options.out, options.steps, options.data)
    sections: list[Section] = []
    left_out: list[tuple[str, str]] = []
    for number, name in enumerate(PARTS, start=2):
        part = find_part(name)
        logger.info("%d/%d %s", number, len(PARTS) + 1, part.TITLE)
        try:
            section = part.make_section(recordings, context)
        except TrainingStoppedError as stopped:
            logger.info("stopped after a checkpoint: the same command resumes from it")
            return stopped.signal
        except LeftOutError as error:
            logger.info("left out: %s", error)
            left_out.append((part.TITLE, str(error)))
            continue
        except Exception as error:  # one odd recording ends no work on the others
            if options.data is None:
                raise
            logger.warning("left out: %s", problem_of(error))
            left_out.append((part.TITLE, problem_of(error)))
            continue
        sections.append(section)
    page = write_page(options.out, recordings.remark, sections, left_out)
    logger.info("done: open %s", page.resolve())
    return 0


def find_part(name: str) -> Any:
    """Return the module of a part: its ``TITLE``, and ``make_section(recordings, context)``."""
    return importlib.import_module(f"cosmos_lidar.demo.{name}")


def _recordings(options: DemoOptions) -> Recordings:
    if options.data is None:
        return synthetic_recordings(options.out, options.drives)
    return top_up(real_recordings(options.data, options.format, options.lidar), options.out)
