"""Numbers of evaluations, with the protocol that they depend on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.hub.results import Number, read_results
from cosmos_lidar.metrics.protocol import Measurement, Protocol, write_measurements


def write(tmp_path: Path, document: Any) -> Path:
    file = tmp_path / "results.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    return file


def test_of_the_lidar_tokenizer(tmp_path: Path):
    document = {
        "data": "/home/me/drives", "protocol": {"hash": "12ab", "max_frames": -1},
        "pooled": {"frames": 4, "rmse_m": 1.5, "psnr_db": None, "by_range": {"0_20": {"mae_m": 0.25}},
                   "encode_decode_seconds": 7.0, "hidden": True},
        "intervals_95_percent": {"rmse_m": {"low": 1.0, "high": 2.0}},
    }  # fmt: skip
    results = read_results(write(tmp_path, document))
    assert results.data == "drives"
    assert results.protocol["hash"] == "12ab"
    assert results.numbers == [
        Number("frames", 4),
        Number("rmse_m", 1.5, 1.0, 2.0),
        Number("by_range.0_20.mae_m", 0.25),
    ]


def test_of_segmentation_and_of_rows(tmp_path: Path):
    document = {
        "all_points": {"miou": 0.5, "iou": {"car": 0.75, "bus": None}, "confusion": [[1]]},
        "protocol": {"a": 1},
    }
    assert read_results(write(tmp_path, document)).numbers == [Number("miou", 0.5), Number("iou.car", 0.75)]
    protocol = Protocol("psnr", "10 log10(1 / MSE)", {"crop": 4})
    rows = [Measurement("psnr_db", 30.0, 29.0, 31.0, 5, protocol), Measurement("none", float("nan"), 0, 0, 0, protocol)]
    found = read_results(write_measurements(tmp_path, rows)[0])
    assert found.numbers == [Number("psnr_db", 30.0, 29.0, 31.0)]
    assert found.protocol[protocol.hash]["settings"] == {"crop": 4}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "not readable"),
        ("[" * 100_000, "not readable"),
        ([1], "holds a list"),
        ({"pooled": {"rmse_m": 1.0}}, "numbers without their protocol.*key protocol"),
        ({"protocol": {"a": 1}}, "no number in it.*key pooled"),
        ({"protocol": {"a": 1}, "pooled": {"rmse_m": "1.0"}}, "no number in it"),
        ({"protocols": {"a": 1}, "rows": [3, {"name": 4, "value": 1}]}, "no number in it"),
    ],
)
def test_other_files_are_refused(document: Any, message: str, tmp_path: Path):
    with pytest.raises(DataError, match=message):
        read_results(write(tmp_path, document))
