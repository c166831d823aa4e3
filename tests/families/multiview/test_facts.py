from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.dit.job import write_waves
from cosmos_lidar.recipes import lidargen
from cosmos_lidar.recipes.multiview import FAMILY
from cosmos_lidar.training.overrides import apply_overrides
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


@pytest.mark.parametrize(
    ("sample_type", "options"),
    [
        ("multiview", "give data.vae.checkpoint=vae.pth"),
        ("views", "give data.tokenizers.lidar and data.tokenizers.image"),
    ],
)
def test_shards_that_are_not_encoded_name_the_options_that_encode_them(
    tmp_path: Path, sample_type: str, options: str
) -> None:
    folder = write_waves(tmp_path / "waves", 4, [16, 6, 4, 8], [9, 64], 0)
    described = folder / ".nv-meta" / "dataset.yaml"
    described.write_text(described.read_text().replace("latents", sample_type))
    options_of = {"multiview": lambda: some_run(tmp_path, "x"), "views": lidargen.debug}
    run = apply_overrides(options_of[sample_type](), [f"data.path={folder}"])
    family = FAMILY if sample_type == "multiview" else lidargen.FAMILY
    with pytest.raises(UserError, match=f"data.path=.*waves: .*, not latents: {options}"):
        family.resolve(run)
