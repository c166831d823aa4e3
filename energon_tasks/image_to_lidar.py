"""Former name of :mod:`energon_tasks.views`."""

from energon_tasks.views import *  # noqa: F403
