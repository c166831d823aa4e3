"""Range maps with the images that were taken with them, as Energon shards: one frame a sample.

    KEY.ranges.bin    the whole range map (clips.range_codec)
    KEY.NAME.jpg      image of each camera, scaled and cut
    KEY.rays.npy      rays of the tokens, where calibrations are known
    KEY.meta.json     clip and frame

``views.json`` names the cameras in their order, and the splits; ``sensor.yaml`` is the lidar.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cosmos_lidar.clips.images import image_size
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.files import parse_json, read_text
from cosmos_lidar.log import logger
from cosmos_lidar.sensors.sensor import Sensor, load_sensor
from cosmos_lidar.shards.facts import agree, first_sample
from cosmos_lidar.shards.sources import Part, Sources

VIEWS, SENSOR = "views.json", "sensor.yaml"
SAMPLE_TYPE = "views"  # of energon_tasks.views
RANGES, RAYS, IMAGE = "ranges.bin", "rays.npy", ".jpg"


@dataclass(frozen=True)
class ViewsFacts:
    """What the samples of a folder have in common.

    Attributes:
        cameras: names, in the order of the slots.
        image_size: (height, width) of the images.
        sensor: the lidar.
    """

    cameras: tuple[str, ...]
    image_size: tuple[int, int]
    sensor: Sensor


def read_facts(folder: Path) -> ViewsFacts:
    """Return what :func:`~cosmos_lidar.families.lidargen.prepare.write_views` wrote beside the shards.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    wanted = "the folder that `cosmos-lidar prepare --views` wrote"
    try:
        document = parse_json(read_text(folder / VIEWS))
        height, width = document["image_size"]
        return ViewsFacts(tuple(document["cameras"]), (height, width), load_sensor(folder / SENSOR))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"not readable: {error}", file=folder / VIEWS, wanted=wanted) from error


def read_views_facts(sources: Sources, sensor: Sensor | None = None) -> ViewsFacts:
    """Return what the frames of all folders of a split have in common.

    Args:
        sources: folders of frames; of those without ``views.json`` the first sample is looked at.
        sensor: the lidar of folders that have no ``sensor.yaml``.

    Raises:
        DataError: a file is missing or cannot be read.
        UserError: cameras, image sizes or range images differ (both folders, key and values are named), or a folder
            without ``sensor.yaml`` and no ``sensor``.
    """
    sources.expect(SAMPLE_TYPE)
    facts = [(part.folder, _facts_of(part, sensor)) for part in sources.parts]
    agree(((folder, _comparable(found)) for folder, found in facts), "frames")
    return facts[0][1]


def _facts_of(part: Part, sensor: Sensor | None) -> ViewsFacts:
    folder = part.folder
    if (folder / VIEWS).is_file():
        return read_facts(folder)
    if (folder / SENSOR).is_file():
        sensor = load_sensor(folder / SENSOR)
    if sensor is None:
        raise UserError(f"{folder}: neither {VIEWS} nor {SENSOR}: put the sensor file there as {SENSOR}")
    images = {name: data for name, data in first_sample(part).items() if name.endswith(IMAGE)}
    cameras = tuple(name.removesuffix(IMAGE) for name in images)
    if not images:
        raise DataError(f"no parts NAME{IMAGE}", file=folder, wanted="frames with camera images")
    size = _image_size(next(iter(images.values())), folder)
    logger.info("%s: no %s; from the first sample: cameras %s of %s", folder, VIEWS, ", ".join(cameras), size)
    return ViewsFacts(cameras, size, sensor)


def _image_size(content: bytes, folder: Path) -> tuple[int, int]:
    try:
        width, height = image_size(content)
    except DataError as error:
        raise DataError(f"the first image cannot be read: {error}", file=folder, wanted="JPEG files") from error
    return height, width


def _comparable(facts: ViewsFacts) -> dict[str, Any]:
    format = facts.sensor.format
    found = {"cameras": facts.cameras, "image_size": facts.image_size, "range map": facts.sensor.shape}
    return found | {f"format.{field.name}": getattr(format, field.name) for field in fields(format)}
