from __future__ import annotations

import pytest
import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.plan import count_parameters

SIZES = {
    "predict2_2b_multiview": 1_956_470_833,
    "predict2_2b_video2world": 1_956_413_440,
    "predict2_14b_video2world": 14_265_285_632,
    "predict2_0.6b_text2image": 597_536_000,
    "predict2_2b_text2image": 1_956_405_248,
    "predict2_14b_text2image": 14_265_265_152,
}


@pytest.mark.parametrize("name", SIZES)
def test_published_parameter_counts(name: str) -> None:
    with torch.device("meta"):
        assert count_parameters(build_dit(name)) == SIZES[name]


def test_widths_that_heads_do_not_divide_are_refused() -> None:
    with pytest.raises(UserError, match="100 is not a multiple of num_heads 16"):
        build_dit("predict2_2b_multiview", model_channels=100)
    with pytest.raises(UserError, match="is 10 per head: .* at least 12"):
        build_dit("predict2_2b_multiview", model_channels=160)
