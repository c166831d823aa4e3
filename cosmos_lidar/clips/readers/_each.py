"""Open many clips where one may be broken."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.errors import DataError

OnError = Callable[[DataError], None]


def open_each(openers: Iterable[Callable[[], Clip]], on_error: OnError | None) -> list[Clip]:
    """Return the clip of each opener.

    Args:
        openers: functions without arguments.
        on_error: takes the error of a clip that cannot be opened, which is then left out; None lets it out.
    """
    clips = []
    for opener in openers:
        try:
            clips.append(opener())
        except DataError as error:
            if on_error is None:
                raise
            on_error(error)
    return clips
