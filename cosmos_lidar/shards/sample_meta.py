"""Descriptions of samples (``KEY.meta.json``): a dataclass as JSON, with the version of its layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

from cosmos_lidar import __version__
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import parse_json

T = TypeVar("T")
META = "meta.json"


def encode_meta(meta: Any, version: int) -> bytes:
    """Return the content of ``KEY.meta.json`` for a dataclass of plain values."""
    document = {"version": version, "tool": f"cosmos_lidar {__version__}", **asdict(meta)}
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def decode_meta(content: bytes, version: int, make: Callable[[dict[str, Any]], T], what: str = "sample") -> T:
    """Parse ``KEY.meta.json``.

    Args:
        content: of the part.
        version: of the layout that is understood.
        make: the other keys -> description; raises ValueError, TypeError, AttributeError or KeyError for wrong ones.
        what: it describes, for messages.

    Raises:
        DataError: not JSON, of another version, or keys that ``make`` refuses.
    """
    try:
        document = parse_json(content)
        found = document.pop("version")
        document.pop("tool", None)
        meta = make(document)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        problem = f"not the description of a {what}: {error!r:.200}"
        raise DataError(problem, key=META, wanted="an intact shard") from error
    if found != version:
        raise DataError(f"version {found}", key=META, wanted=f"version {version}: prepare the shards again")
    return meta
