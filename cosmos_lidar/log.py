"""The one logger of the project."""

from __future__ import annotations

import logging

logger = logging.getLogger("cosmos_lidar")


def configure(verbose: bool = False) -> None:
    """Send log lines to the terminal (standard error), once; ``verbose`` adds debug lines."""
    from rich.console import Console
    from rich.logging import RichHandler

    if not logger.handlers:
        handler = RichHandler(console=Console(stderr=True), show_path=False, markup=False, log_time_format="%H:%M:%S")
        logger.addHandler(handler)
        logger.propagate = False
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
