from pathlib import Path

import pytest

from cosmos_lidar.errors import UserError
from recipes.lidar_tokenizer import FAMILY


def test_crops_are_no_wider_than_the_range_maps(shards: Path) -> None:
    run, _ = FAMILY.choose([f"data.path={shards}", "model.loss.perceptual=0"])  # the recipe has 896
    assert run.data.crop_columns == 128
    for width in (0, 64, 128):
        assert FAMILY.choose([f"data.path={shards}", f"data.crop_columns={width}"])[0].data.crop_columns == width
    with pytest.raises(UserError) as error:
        FAMILY.choose([f"data.path={shards}", "data.crop_columns=896"])
    assert f"data.crop_columns=896 contradicts the data, which has at most 128 ({shards})" in str(error.value)
