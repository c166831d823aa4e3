"""Images that a training run left in its folder, small enough for a page; of a video, its first frame."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_lidar.bounds import expect_size
from cosmos_lidar.errors import UserError
from cosmos_lidar.images import open_image
from cosmos_lidar.runs.reading import printable

if TYPE_CHECKING:
    from PIL import Image

FOLDERS = ("validation", "samples", "")  # of a run folder
_IMAGES = (".png", ".jpg", ".jpeg", ".webp")
_VIDEOS = (".mp4",)
_LARGEST_FILE = 64 << 20  # bytes
_LARGEST_IMAGE = 256 << 20  # bytes when decoded
_MOST_ENTRIES = 20_000
_BOX = (960, 540)  # pixels


@dataclass(frozen=True)
class Sample:
    """An image for a page: caption, JPEG, and its (width, height) in pixels."""

    caption: str
    jpeg: bytes
    size: tuple[int, int]


def read_samples(run: Path, most: int = 2) -> tuple[list[Sample], list[str]]:
    """Return the last ``most`` images of a run folder by name, and what is wrong with those that cannot be shown."""
    samples: list[Sample] = []
    problems: list[str] = []
    for path in _newest(run, most, problems):
        name = printable(path.relative_to(run).as_posix())
        try:
            samples.append(read_sample(path, name))
        except ImportError as error:
            problems.append(f"{name}: not shown, {error.name} is not installed")
        except (OSError, UserError, ValueError, RuntimeError) as error:
            problems.append(printable(f"{name}: not shown ({error})", 300))
    return samples, problems


def _newest(run: Path, most: int, problems: list[str]) -> list[Path]:
    for name in FOLDERS:
        try:
            with os.scandir(run / name) as entries:
                found = [Path(entry.path) for entry in islice(entries, _MOST_ENTRIES) if _is_sample(entry)]
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(f"{name or '.'}: cannot be listed ({error.strerror})")
            continue
        if found:
            return sorted(found)[-most:]
    return []


def _is_sample(entry: os.DirEntry[str]) -> bool:
    name = entry.name.lower()
    return not name.startswith(".") and name.endswith((*_IMAGES, *_VIDEOS)) and entry.is_file()


def read_sample(path: Path, name: str) -> Sample:
    """Return an image, or the first frame of a video, small enough for a page.

    Args:
        path: of the file.
        name: for the caption.

    Raises:
        DataError: a file, or an image, above the limits.
        OSError: it cannot be read.
        ImportError: what reads videos is not installed.
    """
    expect_size(path.stat().st_size, "an image or video", limit=_LARGEST_FILE, file=path)
    if path.suffix.lower() in _VIDEOS:
        from PIL import Image

        from cosmos_lidar.clips.video import VideoFile

        return _small(Image.fromarray(VideoFile(path)(0)), f"{name}, first frame")
    with open_image(path) as image:
        expect_size(4 * image.width * image.height, "an image", limit=_LARGEST_IMAGE, file=path)
        return _small(image, name)


def _small(image: Image.Image, caption: str) -> Sample:
    image = image.convert("RGB")
    image.thumbnail(_BOX)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return Sample(caption, stream.getvalue(), image.size)
