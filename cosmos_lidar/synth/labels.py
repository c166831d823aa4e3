"""What surfaces are made of: semantic class, laser reflectivity, color.

Semantic classes have the numbers of SemanticKITTI, so that its tools, color tables and papers apply:

| id | class | id | class | id | class |
|---|---|---|---|---|---|
| 0 | nothing | 40 | road | 70 | vegetation |
| 10 | car | 48 | sidewalk | 71 | trunk |
| 11 | bicycle | 50 | building | 72 | terrain |
| 18 | truck | 51 | fence | 80 | pole |
| 30 | person | 60 | lane marking | 81 | traffic sign |
| 31 | bicyclist | 252 | moving car | 253 | moving bicyclist |
| 254 | moving person | 258 | moving truck | | |
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np

CLASS_NAMES = {
    0: "nothing", 10: "car", 11: "bicycle", 18: "truck", 30: "person", 31: "bicyclist", 40: "road", 48: "sidewalk",
    50: "building", 51: "fence", 60: "lane marking", 70: "vegetation", 71: "trunk", 72: "terrain", 80: "pole",
    81: "traffic sign", 252: "moving car", 253: "moving bicyclist", 254: "moving person", 258: "moving truck",
}  # fmt: skip

ROAD_USERS = (10, 11, 18, 30, 31, 252, 253, 254, 258)  # classes whose things have instance numbers
MOVING = {10: 252, 31: 253, 30: 254, 18: 258}


class Material(IntEnum):
    """Index into :data:`REFLECTIVITY` and its neighbors."""

    ROAD = 0
    MARKING = 1
    SIDEWALK = 2
    GRASS = 3
    FACADE = 4
    GLASS = 5
    ROOF = 6
    PAINT = 7
    RUBBER = 8
    METAL = 9
    SIGN = 10
    BARK = 11
    LEAVES = 12
    WOOD = 13
    CLOTH = 14
    SKIN = 15
    KERB = 16


class _Look(NamedTuple):
    reflectivity: float
    glass: float  # probability that a pulse finds no diffuse return
    depth_m: float  # how far pulses and eyes reach below the surface (foliage)


_LOOKS = {
    Material.ROAD: _Look(0.14, 0, 0),
    Material.MARKING: _Look(0.65, 0, 0),
    Material.SIDEWALK: _Look(0.28, 0, 0),
    Material.GRASS: _Look(0.38, 0, 0.02),
    Material.FACADE: _Look(0.45, 0, 0),
    Material.GLASS: _Look(0.12, 0.6, 0),
    Material.ROOF: _Look(0.25, 0, 0),
    Material.PAINT: _Look(0.55, 0.02, 0),
    Material.RUBBER: _Look(0.06, 0, 0),
    Material.METAL: _Look(0.5, 0, 0),
    Material.SIGN: _Look(1.0, 0, 0),
    Material.BARK: _Look(0.3, 0, 0),
    Material.LEAVES: _Look(0.42, 0.06, 0.35),
    Material.WOOD: _Look(0.35, 0, 0),
    Material.CLOTH: _Look(0.4, 0, 0),
    Material.SKIN: _Look(0.55, 0, 0),
    Material.KERB: _Look(0.3, 0, 0),
}

REFLECTIVITY = np.array([_LOOKS[m].reflectivity for m in Material], np.float32)
GLASS = np.array([_LOOKS[m].glass for m in Material], np.float32)
DEPTH_M = np.array([_LOOKS[m].depth_m for m in Material], np.float32)
