"""Descriptions of samples: written and read, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.shards.sample_meta import decode_meta, encode_meta


@dataclass(frozen=True)
class Meta:
    clip_id: str
    frames: int


def read(content: bytes) -> Meta:
    return decode_meta(content, 2, lambda document: Meta(**document), "window")


def test_there_and_back() -> None:
    content = encode_meta(Meta("a", 3), 2)
    assert content.startswith(b'{"version":2,"tool":"cosmos_lidar ')
    assert read(content) == Meta("a", 3)


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"version":2,"clip_id":"a"}', b'{"version":2,"more":1}'])
def test_what_is_no_description(content: bytes) -> None:
    with pytest.raises(DataError, match=r"not the description of a window: .*key meta.json"):
        read(content)


def test_another_version() -> None:
    with pytest.raises(DataError, match=r"version 3 \[key meta.json\].*version 2: prepare the shards again"):
        read(encode_meta(Meta("a", 3), 3))
