"""A clip while it is checked: sweeps and images are read once for all checks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip, LidarStream
from cosmos_lidar.clips.sweep import Sweep, sweep_problems
from cosmos_lidar.clips.sweep_counts import SweepCount, count_sweep
from cosmos_lidar.errors import DataError

T = TypeVar("T")
_SWEEPS_KEPT, _IMAGES_KEPT = 16, 4


class Recording:
    """A clip, and what of it has been read.

    Args:
        clip: to be checked.
        sweeps: so many sweeps of each lidar are read; checks that compare neighbors read those after them, too.
        checks: names of the checks that run.
    """

    def __init__(self, clip: Clip, sweeps: int, checks: Collection[str] = ()) -> None:
        self.clip, self.sweeps, self.checks = clip, sweeps, frozenset(checks)
        self._counted: dict[str, dict[int, SweepCount]] = {}
        self._sweeps: OrderedDict[tuple[str, int], Sweep | DataError] = OrderedDict()
        self._images: OrderedDict[tuple[str, int], np.ndarray | DataError] = OrderedDict()

    def chosen(self, stream: LidarStream) -> list[int]:
        """Return the numbers of the sweeps to read, evenly spread, the first and the last among them."""
        if not len(stream) or not self.sweeps:
            return []
        count = min(self.sweeps, len(stream))
        return np.unique(np.linspace(0, len(stream) - 1, count).round().astype(int)).tolist()

    def neighbors(self, stream: LidarStream) -> list[tuple[int, int]]:
        """Return pairs of neighboring sweeps, evenly spread: each of :meth:`chosen` with the one after or before it."""
        last = len(stream) - 1
        return list(dict.fromkeys((min(i, last - 1), min(i, last - 1) + 1) for i in self.chosen(stream) if last > 0))

    def sweep(self, stream: LidarStream, index: int) -> Sweep | None:
        """Return a sweep, or None where it cannot be read."""
        found = self._read_sweep(stream, index)
        return None if isinstance(found, DataError) else found

    def sweep_error(self, stream: LidarStream, index: int) -> DataError | None:
        """Return why a sweep cannot be read, or None."""
        found = self._read_sweep(stream, index)
        return found if isinstance(found, DataError) else None

    def counted(self, stream: LidarStream) -> dict[int, SweepCount]:
        """Return the counts of the sweeps of :meth:`chosen` that can be read and have the shapes of the sensor."""
        if stream.name not in self._counted:
            self._counted[stream.name] = dict(self._count(stream))
        return self._counted[stream.name]

    def _count(self, stream: LidarStream) -> Iterator[tuple[int, SweepCount]]:
        for index in self.chosen(stream):
            sweep = self.sweep(stream, index)
            if sweep is None or sweep_problems(sweep, stream.sensor):
                continue
            try:
                yield index, count_sweep(stream, sweep, index)
            except DataError as error:
                self._sweeps[stream.name, index] = error

    def image(self, camera: CameraStream, index: int) -> np.ndarray | None:
        """Return an image (H, W, 3), or None where it cannot be read."""
        found = self._read_image(camera, index)
        return None if isinstance(found, DataError) else found

    def image_error(self, camera: CameraStream, index: int) -> DataError | None:
        """Return why an image cannot be read, or None."""
        found = self._read_image(camera, index)
        return found if isinstance(found, DataError) else None

    def _read_sweep(self, stream: LidarStream, index: int) -> Sweep | DataError:
        return _kept(self._sweeps, _SWEEPS_KEPT, stream.name, index, stream.read)

    def _read_image(self, camera: CameraStream, index: int) -> np.ndarray | DataError:
        return _kept(self._images, _IMAGES_KEPT, camera.name, index, camera.read)


def _kept(
    store: OrderedDict[tuple[str, int], T | DataError], most: int, name: str, index: int, read: Callable[[int], T]
) -> T | DataError:
    if (name, index) not in store:
        try:
            store[name, index] = read(index)
        except DataError as error:
            store[name, index] = error
        if len(store) > most:
            store.popitem(last=False)
    store.move_to_end((name, index))
    return store[name, index]
