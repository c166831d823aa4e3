from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.recipes import lidar_tokenizer
from cosmos_lidar.recipes.lidar_tokenizer import FAMILY
from cosmos_lidar.training.overrides import apply_overrides


def test_crops_are_no_wider_than_the_range_maps(shards: Path) -> None:
    run, _ = FAMILY.choose([f"data.path={shards}", "model.loss.perceptual=0"])  # the recipe has 896
    assert run.data.crop_columns == 128
    for width in (0, 64, 128):
        assert FAMILY.choose([f"data.path={shards}", f"data.crop_columns={width}"])[0].data.crop_columns == width
    with pytest.raises(UserError) as error:
        FAMILY.choose([f"data.path={shards}", "data.crop_columns=896"])
    assert f"data.crop_columns=896 contradicts the data, which has at most 128 ({shards})" in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["data.sequence=5"], r"data.sequence=5: a CI tokenizer takes single frames"),
        (["model.name=CV4x8x8", "data.sequence=4"], r"one more than a multiple of 4, such as 1 or 5"),
        (["model.name=CV8x8x8", "data.sequence=13"], r"one more than a multiple of 8, such as 9 or 17"),
        (["data.sequence=0"], r"data.sequence=0"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        apply_overrides(lidar_tokenizer.debug(), options).check()
