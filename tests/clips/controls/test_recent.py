"""Values that were read last."""

from __future__ import annotations

from cosmos_lidar.clips.controls._recent import Recent


def test_a_value_is_read_once_while_it_is_among_the_last() -> None:
    read: list[int] = []
    recent: Recent[int] = Recent()

    def get(key: int) -> int:
        return recent.get(key, lambda: read.append(key) or key * 10)

    assert [get(key) for key in (1, 2, 1)] == [10, 20, 10]
    assert read == [1, 2]
    for key in range(3, 67):
        get(key)
    assert get(1) == 10
    assert read.count(1) == 2
