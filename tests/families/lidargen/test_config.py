from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.lidargen.config import LidarGenTrainConfig
from cosmos_lidar.recipes import lidargen
from cosmos_lidar.training.overrides import apply_overrides

FEW = ["log.tensorboard=false", "trainer.val_every=0", "trainer.save_every=0"]


def some_run(root: Path, name: str, *options: str) -> LidarGenTrainConfig:
    return apply_overrides(lidargen.debug(), [*FEW, f"log.root={root}", f"log.name={name}", *options])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["model.canvas.views=3"], r"model.n_views=3: 3 cameras and the range map make 4"),
        (["model.canvas.lidar=[8,20]"], r"the canvas of model.canvas is \[16, 3, 8, 20\]"),
        (["model.canvas.image=[8]"], r"two sizes each"),
        (["data.text_shape=[8,64]"], r"camera-to-lidar diffusion takes no text"),
        (["synthetic_clips=0"], "data.path is empty"),
        (["data.tokenizers.image=a.pt"], "give both, for frames, or none, for latents"),
    ],
)
def test_what_cannot_work_is_refused(options: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        some_run(tmp_path, "x", *options).check()


def test_the_published_settings() -> None:
    run = lidargen.text2world_imagetolidar()
    apply_overrides(run, ["data.path=x"]).check()
    assert run.optim.lr == pytest.approx(4.957e-5, rel=1e-3)
    assert (run.optim.weight_decay, run.optim.eps, run.optim.betas) == (0.1, 1e-10, [0.9, 0.99])
    assert run.data.latent_shape == [16, 4, 88, 224]
