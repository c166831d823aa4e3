"""``lidar.json``: what it states is taken, what is no such thing is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cosmos_lidar.clips.readers.folder.facts import FACTS, LidarFacts, read_facts
from cosmos_lidar.errors import DataError


def test_without_a_file_nothing_is_stated(tmp_path) -> None:
    assert read_facts(tmp_path / FACTS, "a") == LidarFacts()


def test_stated_facts(tmp_path) -> None:
    mounting = np.eye(4)
    mounting[:3, 3] = 0.5, 0.1, 1.9
    stated = {"name": "top lidar", "motion_compensated": True, "ego_SE3_lidar": mounting.tolist()}
    (tmp_path / FACTS).write_text(json.dumps(stated))
    facts = read_facts(tmp_path / FACTS, "a")
    assert (facts.name, facts.motion_compensated) == ("top_lidar", True)
    assert np.array_equal(facts.ego_SE3_lidar, mounting)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("{", "not readable"), ("[]", "no object"), ('{"name": 3}', "key name"),
        ('{"motion_compensated": 1}', "key motion_compensated"), ('{"ego_SE3_lidar": [1]}', "key ego_SE3_lidar"),
        ("[" * 100_000, "file"), (f'{{"ego_SE3_lidar": {(2 * np.eye(4)).tolist()}}}', "no rigid motion"),
    ],
)  # fmt: skip
def test_other_content_is_refused(tmp_path, text, key) -> None:
    (tmp_path / FACTS).write_text(text)
    with pytest.raises(DataError, match=key):
        read_facts(tmp_path / FACTS, "a")
