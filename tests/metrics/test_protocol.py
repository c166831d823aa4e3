from __future__ import annotations

import csv
import json
import math
from pathlib import Path

from cosmos_lidar.metrics.protocol import Measurement, Protocol, write_measurements


def test_the_hash_changes_with_everything_that_a_number_depends_on():
    first = Protocol("mmd", "how", {"bandwidth": 0.5, "side_m": 160.0})
    assert first.hash == Protocol("mmd", "how", {"side_m": 160.0, "bandwidth": 0.5}).hash
    assert len(first.hash) == 12
    others = [
        Protocol("jsd", "how", first.settings),
        Protocol("mmd", "otherwise", first.settings),
        Protocol("mmd", "how", {"bandwidth": 0.6, "side_m": 160.0}),
    ]
    assert len({first.hash, *(other.hash for other in others)}) == 4


def test_numbers_are_written_beside_the_hash_of_their_protocol(tmp_path: Path):
    protocol = Protocol("mmd", "how", {"bandwidth": 0.5})
    rows = [Measurement("mmd", 1.25, 1.0, 1.5, 7, protocol), Measurement("rfvd", 2.0, math.nan, math.nan, 7, protocol)]
    files = write_measurements(tmp_path / "new", rows)
    assert [file.name for file in files] == ["metrics.json", "metrics.csv"]
    content = json.loads(files[0].read_text())
    assert content["rows"][0] == {"name": "mmd", "value": 1.25, "low": 1.0, "high": 1.5, "n": 7,
                                  "protocol": protocol.hash}  # fmt: skip
    assert content["rows"][1]["low"] is None
    assert content["protocols"] == {
        protocol.hash: {"metric": "mmd", "definition": "how", "settings": {"bandwidth": 0.5}}
    }
    with files[1].open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [row["value"] for row in table] == ["1.25", "2.0"]
    assert table[1]["low"] == ""
    assert table[0]["protocol"] == protocol.hash
