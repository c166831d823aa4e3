"""Color maps (turbo, Spectral, viridis) without a plotting library.

``turbo`` and ``viridis`` are tables of 256 colors in 8 bits (half a step, 0.002, from the tables they come from);
``Spectral`` is piecewise linear between eleven colors and exact.

Sources: turbo is Google's (Mikhailov 2019, Apache-2.0), viridis is by van der Walt and Smith (2015, CC0),
Spectral is ColorBrewer's eleven-class diverging scheme (Brewer 2002, Apache-2.0).
"""

from __future__ import annotations

import base64
from functools import cache

import numpy as np

from cosmos_lidar.errors import UserError

_TURBO = (
    "MBI7MhVDMxhKNBtRNR5YNiFfNyRmOCdtOSpzOi15Oy+APDKGPTWLPjiRPzuXPz6cQECiQUOnQUasQkmxQku1Q066RFG/RFTDRFbHRVnLRVzPRV"
    "7TRmHWRmTaRmbdRmngRmvjR27mR3HpR3PrR3buR3jwR3vyRn30RoD2RoL4RoX6Rof7RYr8RYz9RI/+Q5H+QpT/QZb/QJn/Ppv+PZ7+O6D9OqP8"
    "OKX7N6j6Nav4M633Ma/1L7L0LrTyLLfwKrnuKLzrJ77pJcDnI8PkIsXiIMffH8ndHsvaHM3YG9DVGtLSGtTQGdXNGNfKGNnIGNvFGN3CGN7AGO"
    "C9GeK7GeO5GuS2HOa0HeeyH+mvIOqsIuuqJeynJ+6kKu+hLPCeL/GbMvKYNfOUOPSRPPWOP/aKQ/eHRviESviATvl9Uvp6Vfp2WftzXfxvYfxs"
    "Zf1paf1mbf5icf5fdf5cef5Zff9WgP9ThP9RiP9Oi/9Lj/9Jkv9Hlv5Emf5CnP5An/0/of09pPw8p/w6qfs5rPs4r/o3sfk2tPg2t/c1ufY1vP"
    "U0vvQ0wfM0w/E0xvA0yO80y+00zew00Oo00uk11Oc11+U12eQ22+I23eA339834d0349s45dk459c56dU569M57NE67s8678068cs68sk69Mc6"
    "9cU69sM698E6+L45+bw5+ro5+7g4+7Y3/LM2/LE2/a41/aw0/qkz/qcy/qQx/qEw/p4v/pst/pks/pYr/pMq/pAp/Y0n/Yom/Icl/IQj+4Ei+3"
    "4h+nsf+Xge+XUd+HIc928a9mwZ9WkY9GYX82MV8mAU8V0T8FsS71gR7VUQ7FMP61AO6k4N6EsM50kM5UcL5EUK4kMK4UEJ3z8I3T0I3DsH2jkH"
    "2DcG1jUG1DMF0jEF0C8Fzi0EzCsEyioEyCgDxSYDwyUDwSMCviECvCACuR4Ctx0CtBsBshoBrxgBrBcBqRYBpxQBpBMBoRIBnhABmw8BmA4BlQ"
    "0BkgsBjgoBiwkCiAgChQcCgQYCfgUCegQD"
)
_VIRIDIS = (
    "RAFURAJWRQRXRQVZRgdaRghcRgpdRgteRw1gRw5hRxBjRxFkRxNlSBRnSBZoSBdpSBhqSBpsSBttSBxuSB1vSB9wSCBxSCFzSCN0SCR1SCV2SC"
    "Z3SCh4SCl5Ryp6Ryx6Ry17Ry58Ry99RjB+RjJ+RjN/RjSARTWBRTeBRTiCRDmDRDqDRDuEQz2EQz6FQj+FQkCGQkGGQUKHQUSHQEWIQEaIP0eI"
    "P0iJPkmJPkqJPkyKPU2KPU6KPE+KPFCLO1GLO1KLOlOLOlSMOVWMOVaMOFiMOFmMN1qMN1uNNlyNNl2NNV6NNV+NNGCNNGGNM2KNM2ONMmSOMm"
    "WOMWaOMWeOMWiOMGmOMGqOL2uOL2yOLm2OLm6OLm+OLXCOLXGOLHGOLHKOLHOOK3SOK3WOKnaOKneOKniOKXmOKXqOKXuOKHyOKH2OJ36OJ3+O"
    "J4COJoGOJoKOJoKOJYOOJYSOJYWOJIaOJIeOI4iOI4mOI4qNIouNIoyNIo2NIY6NIY+NIZCNIZGMIJKMIJKMIJOMH5SMH5WLH5aLH5eLH5iLH5"
    "mKH5qKHpuKHpyJHp2JH56JH5+IH6CIH6GIH6GHH6KHIKOGIKSGIaWFIaaFIqeFIqiEI6mDJKqDJauCJayCJq2BJ62BKK6AKa9/KrB/LLF+LbJ9"
    "LrN8L7R8MbV7MrZ6NLZ5Nbd5N7h4OLl3Orp2O7t1Pbx0P7xzQL1yQr5xRL9wRsBvSMFuSsFtTMJsTsNrUMRqUsVpVMVoVsZnWMdlWshkXMhjXs"
    "liYMpgY8tfZcteZ8xcac1bbM1abs5YcM9Xc9BWddBUd9FTetFRfNJQf9NOgdNNhNRLhtVJidVIi9ZGjtZFkNdDk9dBldhAmNg+m9k8ndk7oNo5"
    "oto3pds2qNs0qtwyrdwwsN0vst0ttd4ruN4put4ovd8mwN8lwt8jxeAhyOAgyuEfzeEd0OEc0uIb1eIa2OIZ2uMZ3eMY3+MY4uQY5eQZ5+QZ6u"
    "Ua7OUb7+Uc8eUd9OYe9uYg+OYh++cj/ecl"
)
_SPECTRAL = (
    (158, 1, 66),
    (213, 62, 79),
    (244, 109, 67),
    (253, 174, 97),
    (254, 224, 139),
    (255, 255, 191),
    (230, 245, 152),
    (171, 221, 164),
    (102, 194, 165),
    (50, 136, 189),
    (94, 79, 162),
)
COLORMAPS = ("turbo", "Spectral", "viridis")


@cache
def colormap_table(name: str) -> np.ndarray:
    """Return the (256, 3) float32 colors in [0, 1] of a color map; read-only.

    Args:
        name: one of ``COLORMAPS``, in any case; a trailing ``_r`` reverses it.

    Raises:
        UserError: the name is not known.
    """
    plain = name.lower().removesuffix("_r")
    if plain == "spectral":
        anchors = np.asarray(_SPECTRAL, np.float64) / 255.0
        at = np.linspace(0.0, len(anchors) - 1.0, 256)
        table = np.stack([np.interp(at, np.arange(len(anchors)), channel) for channel in anchors.T], axis=1)
    elif plain in ("turbo", "viridis"):
        packed = base64.b64decode(_TURBO if plain == "turbo" else _VIRIDIS)
        table = np.frombuffer(packed, np.uint8).reshape(256, 3) / 255.0
    else:
        raise UserError(f"unknown color map {name!r}; valid: {', '.join(COLORMAPS)}; _r reverses")
    table = table[::-1] if name.lower().endswith("_r") else table
    table = np.ascontiguousarray(table, np.float32)
    table.flags.writeable = False
    return table


def apply_colormap(values: np.ndarray, name: str = "turbo") -> np.ndarray:
    """Return (..., 3) float32 colors of ``values``; those outside [0, 1] take the end colors, NaN the first."""
    index = np.nan_to_num(np.asarray(values, np.float32) * 256.0, nan=0.0, posinf=255.0, neginf=0.0)
    return colormap_table(name)[np.clip(index, 0, 255).astype(np.uint8)]
