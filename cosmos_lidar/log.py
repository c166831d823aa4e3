"""The one logger of the project."""

from __future__ import annotations

import logging
import time
import warnings

logger = logging.getLogger("cosmos_lidar")

_PAUSE_S = 60.0
_said: dict[str, tuple[float, int]] = {}  # by topic: when it was logged last, and how often not since


def configure(verbose: bool = False) -> None:
    """Send log lines to the terminal (standard error), once; ``verbose`` adds debug lines."""
    from rich.console import Console
    from rich.logging import RichHandler

    if not logger.handlers:
        handler = RichHandler(console=Console(stderr=True), show_path=False, markup=False, log_time_format="%H:%M:%S")
        logger.addHandler(handler)
        logger.propagate = False
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    warnings.filterwarnings("ignore", message=".*torch.distributed is disabled.*")  # one process has no group
    warnings.filterwarnings("ignore", message=".*pin_memory.*")  # set by Energon on machines without a GPU, too


def warn_once_a_minute(topic: str, text: str, *values: object) -> None:
    """Log a warning, unless one of the same topic was logged less than a minute ago; the next one counts them.

    Args:
        topic: what goes wrong again and again, such as the name of a file.
        text: of the warning, with ``%s`` and the like for ``values``.
        values: as for ``logger.warning``.
    """
    now = time.monotonic()
    last, left_out = _said.get(topic, (None, 0))
    if last is not None and now - last < _PAUSE_S:
        _said[topic] = (last, left_out + 1)
        return
    _said[topic] = (now, 0)
    again = f" ({left_out} more times since the last such line)" if left_out else ""
    logger.warning(text + again.replace("%", "%%"), *values)
