"""Published sizes of networks and images, as options of the configuration; others are refused with what to use."""

from __future__ import annotations

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.multiview.published_options import check_model_size, size_overrides
from cosmos_lidar.recipes import multiview
from cosmos_lidar.training.overrides import apply_overrides


def test_published_sizes() -> None:
    run = multiview.waymo_720p()
    assert size_overrides("", "", run) == []
    assert size_overrides("", "16:9", run) == []
    small = apply_overrides(run, size_overrides("480", "16:9", run))
    assert small.data.size == (480, 848)
    assert small.data.latent_shape[:2] == run.data.latent_shape[:2]
    assert apply_overrides(small, size_overrides("720", "", small)).data.size == (704, 1280)


@pytest.mark.parametrize(
    ("resolution", "ratio", "message"),
    [
        ("1080", "", r"--resolution 1080: valid: 720, 480; other sizes: data.latent_shape=\[16,2,HEIGHT/8,WIDTH/8\]"),
        ("720", "4:3", r"--aspect_ratio 4:3: valid: 16:9; other sizes: data.latent_shape="),
        ("", "16:9", r"images of this configuration are 64 x 96; add --resolution 720 or 480"),
    ],
)
def test_other_sizes_are_refused(resolution: str, ratio: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        size_overrides(resolution, ratio, multiview.debug())


def test_the_size_of_the_network() -> None:
    check_model_size("2B", multiview.waymo_720p())
    check_model_size("", multiview.debug())
    with pytest.raises(UserError, match=r"--model_size 14B: valid: 2B; the configuration of the checkpoint chooses"):
        check_model_size("14B", multiview.waymo_720p())
    with pytest.raises(UserError, match="--model_size 2B: this is a checkpoint of predict2_debug_multiview"):
        check_model_size("2B", multiview.debug())
