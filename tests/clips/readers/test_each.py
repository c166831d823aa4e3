from __future__ import annotations

import pytest

from cosmos_lidar.clips.readers._each import open_each
from cosmos_lidar.errors import DataError


def broken() -> str:
    raise DataError("cut short", clip="b")


def test_broken_clips_are_handed_over_and_left_out() -> None:
    errors: list[DataError] = []
    assert open_each([lambda: "a", broken, lambda: "c"], errors.append) == ["a", "c"]
    assert [error.clip for error in errors] == ["b"]


def test_without_a_receiver_the_error_comes_out() -> None:
    with pytest.raises(DataError, match="cut short"):
        open_each([lambda: "a", broken], None)


def test_other_errors_are_not_hidden() -> None:
    def bug() -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        open_each([bug], lambda error: None)
