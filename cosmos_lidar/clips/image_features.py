"""Dense image features in files of the user: a map per camera image, and where the points of a sweep lie in it.

A folder has ``CLIP/CAMERA/NUMBER.npy`` (or ``.npz``, ``.safetensors``), the number of the image in its camera's stream
with six digits. A file holds one array of floats (h, w, D), or among others one that is called ``features``: h x w
cells of equal size that cover the whole image. Nothing in them is executed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cosmos_lidar.arrays import read_npy, read_npz
from cosmos_lidar.bounds import read_file
from cosmos_lidar.clips.camera_pose import project_sweep
from cosmos_lidar.clips.clip import CameraStream, Clip
from cosmos_lidar.clips.nearest import nearest_numbers
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.files import read_tensors

ENDINGS = (".npy", ".npz", ".safetensors")
NAME = "features"  # of the array, in files of several
MOST_BYTES = 1 << 26  # of a file, and of its array
MOST_CAMERAS = 16
_WANTED = f"one array of floats (h, w, D), or one called {NAME}, of at most {MOST_BYTES >> 20} MiB"


class SweepFeatures(NamedTuple):
    """Image features of a sweep.

    Attributes:
        maps: (h, w, D) float16 of each image.
        places: (N, 3) float32 of each point: number of its map, or -1 where no camera sees it; then how far from the
            left and from the top of the image it lies, 0 to 1.
    """

    maps: list[np.ndarray]
    places: np.ndarray


@dataclass(frozen=True)
class FeatureFiles:
    """Feature maps of the images of recordings.

    Attributes:
        folder: of the files.
        tolerance_s: how far the nearest image may be from the middle of a sweep.
    """

    folder: Path
    tolerance_s: float = 0.1

    def expect_some(self, clips: list[Clip]) -> None:
        """Refuse a folder without a file for any image of the clips.

        Raises:
            UserError: the message has a path that was looked for.
        """
        for clip in clips:
            if any(
                self._file(clip, name, number) for name, camera in clip.cameras.items() for number in range(len(camera))
            ):
                return
        tried = next((f"{clip.clip_id}/{name}/000000{ENDINGS[0]}" for clip in clips for name in clip.cameras), "")
        why = f"no file such as {tried}" if tried else "the recordings have no cameras"
        raise UserError(f"image features in {self.folder}: {why}")

    def files(self, clip: Clip, index: int) -> list[Path]:
        """Return the files of the images that were taken with a sweep."""
        return [file for _, _, file in self._images(clip, index)]

    def of_sweep(self, clip: Clip, index: int, points: np.ndarray, time_us: np.ndarray | None) -> SweepFeatures | None:
        """Return the maps of the images taken with a sweep, and where its points lie in them; None without maps.

        A point that several cameras see is given to the one that has it nearest to the center of its image.

        Args:
            clip: with cameras.
            index: number of the sweep.
            points: (N, 3) meters, lidar axes.
            time_us: (N,) microseconds after the start of the sweep; None: by azimuth.

        Raises:
            DataError: a file is none, or a camera has no lens or no place.
        """
        maps: list[np.ndarray] = []
        places = np.full((len(points), 3), -1, np.float32)
        best = np.full(len(points), np.inf)
        for camera, number, file in self._images(clip, index):
            found = project_sweep(clip, camera, index, number, points, time_us)
            size = np.array([camera.model.width, camera.model.height]) if camera.model else np.ones(2)
            shares = (found.uv + 0.5) / size
            off_center = np.where(found.visible, np.square(shares - 0.5).sum(1), np.inf)
            nearer = off_center < best
            best[nearer] = off_center[nearer]
            places[nearer, 0], places[nearer, 1:] = len(maps), shares[nearer]
            maps.append(read_map(file))
        return SweepFeatures(maps, places) if maps else None

    def _images(self, clip: Clip, index: int) -> Iterator[tuple[CameraStream, int, Path]]:
        """Yield the cameras that have a map for the image nearest to the middle of a sweep."""
        middle = int(np.asarray(clip.timestamps_us[index], np.int64).sum()) // 2
        for name, camera in list(clip.cameras.items())[:MOST_CAMERAS]:
            if not len(camera):
                continue
            number = int(nearest_numbers(camera.timestamps_us, np.array([middle]))[0])
            file = self._file(clip, name, number)
            if file and abs(int(camera.timestamps_us[number]) - middle) <= self.tolerance_s * 1e6:
                yield camera, number, file

    def _file(self, clip: Clip, camera: str, number: int) -> Path | None:
        stem = self.folder / clip.clip_id / camera / f"{number:06d}"
        return next((path for path in (stem.with_suffix(ending) for ending in ENDINGS) if path.is_file()), None)


def read_map(file: Path) -> np.ndarray:
    """Return a feature map (h, w, D), float16.

    Raises:
        DataError: not such a file, or values that are not finite in half precision.
    """
    array = _read(file)
    if array.ndim != 3 or 0 in array.shape or array.dtype.kind != "f":
        raise DataError(f"{array.dtype} of shape {array.shape}", file=file, wanted=_WANTED)
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    if not np.isfinite(half).all():
        raise DataError("values that are NaN, infinite or beyond half precision", file=file, wanted=_WANTED)
    return half


def _read(file: Path) -> np.ndarray:
    try:
        content = read_file(file, "a feature map", limit=MOST_BYTES)
        if file.suffix == ".npy":
            return read_npy(content, limit=MOST_BYTES)
        arrays = read_npz(content, limit=MOST_BYTES) if file.suffix == ".npz" else _tensors(file)
    except DataError as error:
        raise error.at(file=file) from error
    if NAME not in arrays and len(arrays) != 1:
        raise DataError(f"{len(arrays)} arrays", file=file, wanted=_WANTED)
    return arrays.get(NAME, next(iter(arrays.values())))


def _tensors(file: Path) -> dict[str, np.ndarray]:
    return {name: tensor.float().numpy() for name, tensor in read_tensors(file, _WANTED).items()}


def sample_maps(maps: list[np.ndarray], places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ((m,) rows of the points that a camera sees, (m, D) float32 features there), bilinear between cells.

    Args:
        maps: (h, w, D) of each image, all of one D, at least one.
        places: (N, 3), see :class:`SweepFeatures`.
    """
    rows = np.flatnonzero(places[:, 0] >= 0)
    features = np.empty((len(rows), maps[0].shape[2]), np.float32)
    for number, one in enumerate(maps):
        own = places[rows, 0] == number
        features[own] = _bilinear(one, places[rows[own], 1:])
    return rows, features


def _bilinear(one: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return (m, D) of a map (h, w, D) at places (m, 2) from its left and top; the border goes on outside."""
    size = np.array(one.shape[1::-1])
    place = np.clip(shares * size - 0.5, 0, size - 1)
    low = np.floor(place).astype(np.int64)
    high, part = np.minimum(low + 1, size - 1), (place - low)[:, :, None]
    top = one[low[:, 1], low[:, 0]] * (1 - part[:, 0]) + one[low[:, 1], high[:, 0]] * part[:, 0]
    bottom = one[high[:, 1], low[:, 0]] * (1 - part[:, 0]) + one[high[:, 1], high[:, 0]] * part[:, 0]
    return (top * (1 - part[:, 1]) + bottom * part[:, 1]).astype(np.float32)
