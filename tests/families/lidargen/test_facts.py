"""Camera-to-lidar diffusion takes its canvas from its latents: one folder, several, with and without latents.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("megatron.energon")

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.lidargen.config import CanvasConfig
from cosmos_lidar.recipes.lidargen import FAMILY
from cosmos_lidar.recipes.lidargen import debug as debug_recipe
from cosmos_lidar.shards.latents import LATENTS, SAMPLE_TYPE, pack_canvas
from cosmos_lidar.shards.manifest import index_with_energon


def write_latents(folder: Path, shape: tuple[int, ...], canvas: dict | None, rays: bool = False) -> Path:
    """Write two samples of zeros for each split; ``canvas`` goes into latents.json, None writes none."""
    import numpy as np
    import torch
    import webdataset

    folder.mkdir(parents=True)
    tokens = np.zeros((shape[1], shape[2] // 2, shape[3] // 2, 6)) if rays else None
    names = ["train-000000.tar", "val-000000.tar"]
    for name in names:
        with webdataset.TarWriter(str(folder / name)) as tar:
            for number in range(2):
                parts = pack_canvas(torch.zeros(shape), tokens)
                tar.write({"__key__": f"{name[:3]}_{number}", "meta.json": b'{"clip_id": "c"}', **parts})
    index_with_energon(folder, names, sample_type=SAMPLE_TYPE)
    if canvas is not None:
        (folder / LATENTS).write_text(json.dumps({"canvas": canvas}))
    return folder


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("latents")
    canvas = {"views": 1, "lidar": [4, 8], "image": [6, 6]}
    wide = {"views": 1, "lidar": [4, 12], "image": [6, 6]}
    return {
        "a": write_latents(root / "a", (16, 2, 6, 8), canvas),
        "b": write_latents(root / "b", (16, 2, 6, 8), canvas),
        "wide": write_latents(root / "wide", (16, 2, 6, 12), wide),
        "bare": write_latents(root / "bare", (16, 2, 6, 8), None),
        "rays": write_latents(root / "rays", (16, 2, 6, 8), canvas, rays=True),
    }


def choose(*words: object) -> object:
    return FAMILY.choose([str(word) for word in words])[0]


@pytest.mark.parametrize("path", ["{rays}", "{rays},{rays}", "0.3,{rays},0.7,{rays}"])
def test_the_data_is_all_that_a_recipe_needs(latents: dict[str, Path], path: str) -> None:
    run = choose("recipe=small", f"data.path={path.format(**latents)}")
    assert run.model.canvas == CanvasConfig(1, [4, 8], [6, 6], dense=True)
    assert (run.model.n_views, run.data.latent_shape) == (2, [16, 2, 6, 8])
    run.check()


def test_options_that_agree_and_folders_without_latents_json(latents: dict[str, Path]) -> None:
    canvas = ["model.canvas.views=1", "model.canvas.lidar=[4,8]", "model.canvas.image=[6,6]", "model.n_views=2"]
    for folder in (latents["a"], latents["bare"]):
        run = choose("recipe=debug", f"data.path={folder}", *canvas, "data.latent_shape=[16,2,6,8]")
        assert run.model.canvas.layout().size == (6, 8)
        run.check()
    assert choose("recipe=debug", f"data.path={latents['bare']}", *canvas).data.latent_shape == [16, 2, 6, 8]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("model.canvas.lidar=[4,4]", "model.canvas.lidar=[4,4] contradicts the data, which has [4,8]"),
        ("model.canvas.views=2", "model.canvas.views=2 contradicts the data, which has 1"),  # the recipe's own value
        ("data.latent_shape=[16,3,6,8]", "data.latent_shape=[16,3,6,8] contradicts the data, which has [16,2,6,8]"),
        ("model.n_views=4", "model.n_views=4 contradicts the data, which has 2"),
        ("model.rays=true", "model.rays=true contradicts the data, which has no rays"),
    ],
)
def test_options_that_contradict_the_data_are_refused(latents: dict[str, Path], option: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        choose("recipe=debug", f"data.path={latents['a']}", option)
    assert said in str(error.value)
    assert f"({latents['a'] / LATENTS})" in str(error.value)


def test_folders_that_differ_are_refused_by_name(latents: dict[str, Path]) -> None:
    with pytest.raises(UserError) as error:
        choose("recipe=debug", f"data.path={latents['a']},{latents['wide']}")
    assert str(latents["a"]) in str(error.value)
    assert str(latents["wide"]) in str(error.value)
    assert choose("recipe=debug", f"data.path={latents['a']},{latents['b']}").model.n_views == 2


def test_data_on_another_machine_leaves_the_options_as_they_are() -> None:
    assert choose("recipe=debug", "data.path=nowhere").model == debug_recipe().model


def test_from_python(latents: dict[str, Path]) -> None:
    run = debug_recipe()
    run.data.path = str(latents["a"])
    assert FAMILY.resolve(run).data.latent_shape == [16, 2, 6, 8]
    run.model.n_views = 5
    with pytest.raises(UserError, match="model.n_views=5"):
        FAMILY.resolve(run)
