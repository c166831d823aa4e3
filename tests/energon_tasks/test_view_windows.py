"""Windows of frames of several cameras: spans, times by frame rate, poses and lenses of what is taken."""

from __future__ import annotations

import io

import numpy as np
import pytest

pytest.importorskip("megatron.energon")

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.shards.multiview import POSES, MultiviewMeta
from energon_tasks.view_windows import ViewWindow, camera_mounts, fitted_lens, window_poses, window_times_s


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


META = MultiviewMeta(clip_id="clip", cameras=["a", "b"], view_ids=[0, 1], frames=6, fps=5.0)


def test_the_span_has_the_stride_between_frames() -> None:
    assert ViewWindow(frames=5, stride=3).span == 13


@pytest.mark.parametrize("options", [{"frames": 0}, {"stride": 0}, {"size": (0, 8)}, {"views": (1, 1)}, {"fit": "pad"}])
def test_windows_that_cannot_be(options: dict) -> None:
    with pytest.raises(UserError):
        ViewWindow(**options)


def test_times_are_those_of_the_frame_rate_where_none_were_recorded() -> None:
    times = window_times_s(META, [0, 1], np.array([2, 4]))
    assert times.tolist() == [[0.0, pytest.approx(0.4)]] * 2


def test_poses_of_the_chosen_frames() -> None:
    poses = np.arange(2 * 6 * 16, dtype=np.float64).reshape(2, 6, 4, 4)
    found = window_poses({POSES: npy(poses)}, [1], np.array([0, 5]))
    assert found is not None
    assert np.array_equal(found.numpy(), poses[1:, [0, 5]])
    assert window_poses({}, [1], np.array([0])) is None
    with pytest.raises(DataError, match="a pose of every view and frame"):
        window_poses({POSES: npy(poses)}, [1], np.array([0, 6]))
    with pytest.raises(DataError, match="4, 4"):
        window_poses({POSES: npy(poses[0])}, [1], np.array([0]))


def test_what_is_not_known() -> None:
    assert camera_mounts(META, [0, 1]) is None
    assert fitted_lens(META, 0, ViewWindow()) is None
