"""Former name of :mod:`energon_tasks.videos`."""

from energon_tasks.videos import *  # noqa: F403
