from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.stamps import is_number, to_microseconds, unit_since_1970
from cosmos_lidar.errors import DataError

NS = [1_700_000_000_123_456_789, 1_700_000_000_223_456_789]


@pytest.mark.parametrize(
    ("texts", "how"),
    [
        ([f"{n // 10**9}.{n % 10**9:09d}" for n in NS], "s since 1970"),
        ([f"{n // 10**6}.{n % 10**6:06d}" for n in NS], "ms since 1970"),
        ([str(n // 1000) for n in NS], "us since 1970"),
        ([str(n) for n in NS], "ns since 1970"),
        (["2023-11-14 22:13:20.123456789", "2023-11-14T22:13:20.223456789"], "dates"),
    ],
)
def test_stamps_since_1970_by_their_magnitude(texts, how):
    found, unit = to_microseconds(texts)
    assert np.abs(found - [n // 1000 for n in NS]).max() <= 1
    assert unit.startswith(how)


@pytest.mark.parametrize(("scale", "unit"), [(1e-6, "s"), (1e-3, "ms"), (1, "us"), (1e3, "ns")])
def test_others_by_their_step(scale, unit):
    times = np.array([0, 100_000, 200_500, 300_000])
    found, how = to_microseconds([f"{time * scale:.9f}" for time in times])
    assert found.tolist() == times.tolist()
    assert how == f"{unit} by their median step"


def test_a_stated_unit():
    assert to_microseconds(["5", "7"], "ms")[0].tolist() == [5000, 7000]


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (["15616458250027900", "15616458251018358"], "15616458250027900 are plausible in no unit .*row 1"),  # 1e-7 s
        (["0", "1e10", "2e10"], "plausible in no unit"),
        (["5"], "plausible in no unit"),
        (["1.5", "six"], "'six' is no number .*row 2"),
        (["2023-11-14", "2023-19-14"], "2023-19-14.*row 2"),
        (["NaT"], "row 1"),
        (["1e99", "2e99"], "no unit"),
    ],
)
def test_implausible_stamps_are_refused(texts, problem):
    with pytest.raises(DataError, match=problem):
        to_microseconds(texts)


def test_numbers():
    assert all(map(is_number, ["1", "-1.5", "1.", "2e9", "1700000000123456789"]))
    assert not any(map(is_number, ["", "nan", "inf", "0x1", "1 2", "1e999", "9" * 40]))
    assert unit_since_1970([]) is None
