"""Range maps with the pictures that were taken with them, as Energon shards: one frame a sample.

    KEY.ranges.bin    the whole range map (clips.range_codec)
    KEY.NAME.jpg      picture of each camera, scaled and cut
    KEY.rays.npy      rays of the tokens, where calibrations are known
    KEY.meta.json     clip and frame

``views.json`` names the cameras in their order, and the splits; ``sensor.yaml`` is the lidar.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.sensor import Sensor, load_sensor

VIEWS, SENSOR = "views.json", "sensor.yaml"
SAMPLE_TYPE = "views"  # of energon_tasks.views
RANGES, RAYS, PICTURE = "ranges.bin", "rays.npy", ".jpg"


@dataclass(frozen=True)
class ViewsFacts:
    """What the samples of a folder have in common.

    Attributes:
        cameras: names, in the order of the slots.
        image_size: (height, width) of the pictures.
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
        document = json.loads((folder / VIEWS).read_text(encoding="utf-8"))
        height, width = document["image_size"]
        return ViewsFacts(tuple(document["cameras"]), (height, width), load_sensor(folder / SENSOR))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"not readable: {error}", file=folder / VIEWS, wanted=wanted) from error
