from __future__ import annotations

from cosmos_lidar.training.checkpoint.retry import SaveRetry


def test_a_failed_save_is_tried_again_at_once_then_less_and_less_often() -> None:
    now, pauses = [50.0], []
    retry = SaveRetry(lambda: now[0])
    assert (retry.due, retry.failing) == (False, False)
    for _ in range(9):
        retry.begun()
        assert not retry.due
        retry.failed()
        start = now[0]
        while not retry.due:
            now[0] += 0.5
        pauses.append(now[0] - start)
    assert pauses == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    retry.begun()
    retry.succeeded()
    assert (retry.due, retry.failing) == (False, False)
