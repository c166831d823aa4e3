from __future__ import annotations

import io

import numpy as np
import pytest

from cosmos_lidar.clips.readers.rosbag.clouds import read_cloud
from cosmos_lidar.clips.readers.rosbag.messages import CLOUD, cloud_fields
from cosmos_lidar.errors import DataError

pytest.importorskip("rosbags")

from tests.clips.point_formats.encoders import table
from tests.clips.readers.rosbag.bags import START_NS, Types


@pytest.mark.parametrize("frame", ["", "lidar", "a/longer_frame"])
@pytest.mark.parametrize("shape", [(500,), (20, 25)])
@pytest.mark.parametrize(("ros1", "little", "big"), [(True, True, False), (False, True, False), (False, False, True)])
def test_messages_are_read_as_rosbags_reads_them(ros1, little, big, shape, frame):
    types, before = Types(ros1), b"before it"
    message = types.cloud(START_NS, table().reshape(shape), big, frame=frame)
    content = types.serialize(message, CLOUD, little)
    stream = io.BytesIO(before + content + b"behind it")
    stream.seek(len(before))
    found, wanted = read_cloud(stream, len(content), "ros1" if ros1 else "cdr"), cloud_fields(message)
    assert found.shape == wanted.shape
    assert found.columns.keys() == wanted.columns.keys()
    assert all(np.array_equal(found.columns[name], wanted.columns[name]) for name in wanted.columns)


@pytest.mark.parametrize("ros1", [True, False])
def test_padded_empty_and_broken_messages_have_to_be_looked_at_whole(ros1):
    types, encoding = Types(ros1), "ros1" if ros1 else "cdr"
    padded = types.serialize(types.cloud(START_NS, table().reshape(20, 25), padding=24), CLOUD)
    empty = types.serialize(types.cloud(START_NS, table(3)[:0]), CLOUD)
    whole = types.serialize(types.cloud(START_NS, table()), CLOUD)
    for content in (padded, empty, b"", whole[:3], whole[:30], whole[:100], whole[:-1], whole + b"\0"):
        assert read_cloud(io.BytesIO(content), len(content), encoding) is None


def test_fields_that_do_not_fit_are_refused():
    message = Types(False).cloud(START_NS, table())
    message.fields[0].datatype = 9
    content = Types(False).serialize(message, CLOUD)
    with pytest.raises(DataError, match="key field x"):
        read_cloud(io.BytesIO(content), len(content), "cdr")
