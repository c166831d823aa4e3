"""Frames of NCore V4: ray bundles of a lidar as sweeps, images of a camera."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.clips.blocks import blocks
from cosmos_lidar.clips.images import read_image
from cosmos_lidar.clips.range_images import first_points, put_pixels, range_image_of_elements
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.clips.sweep_times import after_start_us
from cosmos_lidar.clips.zarr_store import ZarrStore, open_store
from cosmos_lidar.errors import DataError


@dataclass(frozen=True)
class RaySweeps:
    """``read`` of a lidar: directions of rays, times, and one or more returns of each.

    Attributes:
        clip_id: for messages.
        store: file or folder.
        path: of the lidar's group.
        times_us: (N, 2) start and end of each sweep; ends are the names of the frames.
        shape: rows and columns of the lidar's model, whose elements become a range image; None: points.
    """

    clip_id: str
    store: Path
    path: str
    times_us: np.ndarray
    shape: tuple[int, int] | None

    def __call__(self, index: int) -> Sweep:
        """Read sweep ``index``.

        Raises:
            DataError: missing or broken arrays, shapes that do not fit, elements outside the model, no return at all.
        """
        try:
            return self._read(open_store(self.store), index)
        except DataError as error:
            raise error.at(clip=self.clip_id) from error

    def _read(self, store: ZarrStore, index: int) -> Sweep:
        frame = f"{self.path}/frames/{int(self.times_us[index, 1])}"
        rays, returns = f"{frame}/ray_bundle", f"{frame}/ray_bundle_returns"
        image = self._one_return(store, rays, returns, index)
        if image is not None:
            return image
        direction = self._array(store, f"{rays}/direction", "f4", (None, 3))
        count = len(direction)
        after = self._times(store, rays, count, index)
        distance = self._array(store, f"{returns}/distance_m", "f4", (None, count))
        intensity = self._array(store, f"{returns}/intensity", "f4", distance.shape)
        element = None
        if store.has_array(f"{rays}/model_element"):
            element = self._array(store, f"{rays}/model_element", "u2", (count, 2))
        seen = np.isfinite(distance) & (distance > 0)
        number, rays_seen = np.nonzero(seen)
        ray: Any = rays_seen
        own: Any = seen
        if len(distance) == 1 and len(rays_seen) == count:  # as is usual; picking copies
            ray, own = slice(None), (0, slice(None))
        if not len(rays_seen):
            raise store.broken(f"no return among {distance.size}", f"{returns}/distance_m", "a sweep")
        values: dict[str, Any] = {"intensity": intensity[own], "time_us": after[ray]}
        points = direction[ray] * distance[own][:, None]
        if element is not None and self.shape is not None:
            pixel = self._pixels(store, element[ray], f"{rays}/model_element")
            image = _image(points, distance[own], pixel, number, self.shape, values)
            if image is not None:
                return image
        if element is not None:
            values["ring"] = element[ray, 0].astype(np.uint16)
        if len(distance) > 1:
            values["returns"] = (number + 1).astype(np.uint8)
        return Sweep(points=points, **values)

    def _one_return(self, store: ZarrStore, rays: str, returns: str, index: int) -> Sweep | None:
        """Return a sweep of one return for each ray, and at most one for each pixel; None for others.

        Arrays are read one after the other, and each is freed when it has been used.
        """
        distances, elements = f"{returns}/distance_m", f"{rays}/model_element"
        if self.shape is None or not store.has_array(elements) or store.shape(distances)[:1] != (1,):
            return None
        count = store.shape(distances)[1] if len(store.shape(distances)) == 2 else -1
        distance = self._array(store, distances, "f4", (1, count))[0]
        seen = np.isfinite(distance) & (distance > 0)
        if not seen.any():
            return None
        everything = bool(seen.all())

        def own(values: np.ndarray) -> np.ndarray:
            return values if everything else values[seen]

        pixel = self._pixels(store, own(self._array(store, elements, "u2", (count, 2))), elements)
        place, others = first_points(pixel, self.shape)
        if len(others):
            return None
        chosen, distance = place[place >= 0], own(distance)
        del place
        points = _points(own(self._array(store, f"{rays}/direction", "f4", (count, 3))), distance, chosen)
        del chosen
        range_m = put_pixels(distance, pixel, self.shape)
        del distance
        intensity = own(self._array(store, f"{returns}/intensity", "f4", (1, count))[0])
        intensity = put_pixels(intensity, pixel, self.shape)
        time_us = put_pixels(own(self._times(store, rays, count, index)), pixel, self.shape)
        return Sweep(range_m=range_m, points=points, intensity=intensity, time_us=time_us)

    def _times(self, store: ZarrStore, rays: str, count: int, index: int) -> np.ndarray:
        """Return (count,) int32 microseconds after the start of the sweep."""
        key = f"{rays}/timestamp_us"
        stamps = self._array(store, key, "u8", (count,))
        try:
            return after_start_us(stamps, int(self.times_us[index, 0]))
        except ValueError as error:
            raise store.broken(str(error), key, "microseconds") from None

    def _pixels(self, store: ZarrStore, element: np.ndarray, key: str) -> np.ndarray:
        rows, columns = self.shape or (0, 0)
        row, column = element.T
        if row.max() >= rows or column.max() >= columns:
            found = f"element ({row.max()}, {column.max()})"
            raise store.broken(found, key, f"those of a model of {(rows, columns)}")
        return row.astype(np.int32) * np.int32(columns) + column

    def _array(self, store: ZarrStore, path: str, kind: str, shape: tuple[int | None, ...]) -> np.ndarray:
        there = store.shape(path)
        if len(there) != len(shape) or any(own not in (None, size) for own, size in zip(shape, there, strict=True)):
            raise store.broken(f"shape {there}", path, f"{shape}, None for any")
        array = store.array(path)
        if array.dtype != np.dtype(f"<{kind}"):
            raise store.broken(f"dtype {array.dtype}", path, kind)
        return array


def _points(direction: np.ndarray, distance: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return (N, 3) float32 points of rays, in the order of ``chosen``."""
    points = np.empty((len(chosen), 3), np.float32)
    for part in blocks(len(chosen)):
        rays = chosen[part]
        np.multiply(direction[rays], distance[rays][:, None], out=points[part])
    return points


def _image(
    points: np.ndarray,
    distance: np.ndarray,
    pixel: np.ndarray,
    number: np.ndarray,
    shape: tuple[int, int],
    values: dict[str, Any],
) -> Sweep | None:
    """Return returns, numbered from 0 for each ray, as range images; None where a pixel has more than it can hold."""
    images, returns = [], int(number.max()) + 1
    for one in range(returns):
        chosen = slice(None) if returns == 1 else number == one  # a mask copies
        own = {name: value[chosen] for name, value in values.items()}
        image = range_image_of_elements(points[chosen], distance[chosen], pixel[chosen], shape, own)
        if image is None:
            return None
        images.append(image)
    if len(images) > 2 or (len(images) == 2 and any("second_return" in image for image in images)):
        return None
    return Sweep(**images[0]) if len(images) == 1 else Sweep(**images[0], second_return=Sweep(**images[1]))


@dataclass(frozen=True)
class EncodedImages:
    """``read`` of a camera; attributes as those of :class:`RaySweeps`, ``ends_us`` (N,) ends of the images."""

    clip_id: str
    store: Path
    path: str
    ends_us: np.ndarray

    def __call__(self, index: int) -> np.ndarray:
        """Return image ``index`` as (H, W, 3) uint8 RGB.

        Raises:
            DataError: it is missing or cannot be decoded.
        """
        key = f"{self.path}/frames/{int(self.ends_us[index])}/image"
        try:
            content = open_store(self.store).array(key).tobytes()
        except DataError as error:
            raise error.at(clip=self.clip_id) from error
        return read_image(content, file=self.store, clip=self.clip_id, key=key)
