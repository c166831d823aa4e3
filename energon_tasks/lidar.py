"""Former name of :mod:`energon_tasks.sweeps`."""

from energon_tasks.sweeps import *  # noqa: F403
