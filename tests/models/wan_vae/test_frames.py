from __future__ import annotations

import logging

import pytest
import torch

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.models.wan_vae.frames import check_window, usable_frames, windows


@pytest.mark.parametrize("count", [2, 3, 4, 18, 20, 28])
def test_frames_that_do_not_fill_latents_are_refused_or_trimmed_and_counted(
    count: int, caplog: pytest.LogCaptureFixture
):
    extra = (count - 1) % 4
    with pytest.raises(DataError, match=rf"video of {count} frames.*{count - extra} or {count - extra + 4}, or trim"):
        usable_frames(count, 4)
    with caplog.at_level(logging.WARNING):
        assert usable_frames(count, 4, trim=True) == count - extra
    assert f"dropped the last {extra} of {count} frames" in caplog.text


@pytest.mark.parametrize("count", [1, 5, 29])
def test_whole_latents_are_taken_as_they_are(count: int, caplog: pytest.LogCaptureFixture):
    assert usable_frames(count, 4) == usable_frames(count, 4, trim=True) == count
    assert not caplog.records
    with pytest.raises(DataError, match="without frames"):
        usable_frames(0, 4)


@pytest.mark.parametrize("sizes", [[29], [1] * 29, [3, 20, 6], [28, 1]])
def test_blocks_of_any_length_become_windows(sizes: list[int]):
    blocks = torch.arange(29.0).view(1, 1, 29, 1, 1).split(sizes, dim=2)
    found = list(windows(blocks, 16, 4))
    assert [part.shape[2] for part in found] == [1, 16, 12]
    assert torch.cat(found, dim=2).flatten().tolist() == list(range(29))


def test_what_is_left_at_the_end_is_refused_or_dropped():
    blocks = torch.arange(12.0).view(1, 1, 12, 1, 1).split(5, dim=2)
    with pytest.raises(DataError, match="video of 12 frames"):
        list(windows(blocks, 4, 4))
    found = list(windows(blocks, 4, 4, trim=True))
    assert torch.cat(found, dim=2).flatten().tolist() == list(range(9))
    with pytest.raises(DataError, match="without frames"):
        list(windows([], 4, 4))


@pytest.mark.parametrize("window", [0, 2, 6, -4])
def test_windows_are_multiples_of_a_latent(window: int):
    with pytest.raises(UserError, match=f"window={window}: expected a multiple of 4"):
        check_window(window, 4)
    check_window(None, 4)
    check_window(16, 4)
