from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.dit.job import write_waves
from cosmos_lidar.recipes.multiview import FAMILY
from tests.families.multiview.runs import some_run

pytest.importorskip("megatron.energon")


def test_shapes_of_a_view_are_those_of_the_latents(tmp_path: Path) -> None:
    folder = write_waves(tmp_path / "waves", 4, [16, 6, 4, 8], [9, 64], 0)
    run = some_run(tmp_path, "x", f"data.path={folder}", "data.view_ids=[5,0,1]")
    data = FAMILY.resolve(run).data
    assert data.latent_shape == [16, 2, 4, 8]
    assert data.text_shape == [3, 64]
    with pytest.raises(UserError, match="4 views do not divide the 6 latent frames and 9 rows"):
        FAMILY.resolve(some_run(tmp_path, "x", f"data.path={folder}", "data.view_ids=[5,0,1,2]"))
    options = [f"data.path={folder}", "data.view_ids=[5,0,1]", "data.latent_shape=[16,2,4,6]"]
    with pytest.raises(UserError, match=r"data.latent_shape=\[16,2,4,6\] contradicts the data.*\[16,2,4,8\]"):
        FAMILY.resolve(some_run(tmp_path, "x", *options))
