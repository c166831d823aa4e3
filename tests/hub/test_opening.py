"""Checkpoints of every kind: folders with a configuration, Diffusers' folders, published files, and damaged ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.hub.opening import open_model
from cosmos_lidar.models.diffusers import to_diffusers
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.predict2 import SHAPES
from tests.hub.models import make, same


def write(folder: Path, written: torch.nn.Module, **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    save_file({name: value.contiguous() for name, value in written.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"dtype": "float32", "license": "mit", **config}))
    return folder


def test_the_shape_of_a_transformer_is_that_of_its_run(tmp_path: Path):
    network = build_dit("predict2_debug_multiview", state_t=4)
    run = {"family": "multiview", "recipe": "debug", "model": {"name": "predict2_debug_multiview"},
           "data": {"latent_shape": [16, 4, 6, 8]}, "trainer": {"max_steps": 7, "seed": 3}}  # fmt: skip
    opened = open_model(write(tmp_path / "model", network, family="multiview", run=run))
    assert opened.step == 7
    assert opened.options["recipe"] == "debug"
    assert same(opened.network, network)


def test_diffusers_folders(tmp_path: Path):
    _, network = make("transformer")
    to_diffusers(network, tmp_path)
    opened = open_model(tmp_path)
    assert opened.family == "dit"
    assert same(opened.network, network)


def test_files_are_recognized_by_their_tensors(tmp_path: Path):
    for what, family in (("lidar tokenizer", "lidar_tokenizer"), ("video VAE", "multiview"), ("backbone", "also")):
        _, network = make(what)
        torch.save({f"module.{name}": value for name, value in network.state_dict().items()}, tmp_path / "weights.pth")
        opened = open_model(tmp_path / "weights.pth")
        assert opened.family == family
        assert same(opened.network, network)


def test_a_published_shape_is_found_by_its_tensors(tmp_path: Path):
    network = build_dit("predict2_debug_multiview")
    torch.save({f"net.{name}": value for name, value in network.state_dict().items()}, tmp_path / "model.pt")
    opened = open_model(tmp_path / "model.pt")
    assert opened.family == "multiview"
    assert opened.network.config == SHAPES["predict2_debug_multiview"]
    _, other = make("transformer")
    torch.save(other.state_dict(), tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"other.pt: a transformer of no published shape; --network names one: .*_2b_"):
        open_model(tmp_path / "other.pt")
    with pytest.raises(DataError, match="weights missing"):
        open_model(tmp_path / "other.pt", "predict2_debug_multiview")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"family": "cars"}, "'cars' .*key family.*lidar_tokenizer, video_tokenizer"),
        ({"family": "multiview"}, "neither network nor run"),
        ({"family": "multiview", "run": [1]}, "no mapping.*key run, network"),
        ({"family": "multiview", "network": {"name": "predict2_9b"}}, "unknown diffusion transformer 'predict2_9b'"),
        ({"family": "multiview", "network": {"name": "predict2_debug_multiview", "depth": 3}}, "unknown field 'depth'"),
        ({"family": "multiview", "network": {"name": "predict2_debug_multiview", "num_heads": "x"}}, "no shape"),
        ({"family": "multiview", "network": {"name": "predict2_debug_multiview", "num_heads": 0}}, "no shape"),
        ({"family": "multiview", "network": {"name": "predict2_debug_multiview", "num_blocks": 10**9}}, "1000000000"),
        ({"family": "multiview", "run": {"family": "trains"}}, "'trains' .*key family"),
        ({"family": "lidar_tokenizer"}, "no tokenizer"),
        ({"family": "also"}, "neither stem.0.kernel"),
    ],
)
def test_configurations_that_describe_no_network(config: dict[str, Any], message: str, tmp_path: Path):
    network = torch.nn.Linear(2, 2)
    with pytest.raises(UserError, match=message):
        open_model(write(tmp_path / "model", network, **config))


def test_options_do_not_name_a_recipe_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("evil.py").write_text("import pathlib\npathlib.Path('executed').touch()\n")
    write(tmp_path / "model", torch.nn.Linear(2, 2), family="multiview", run={"family": "evil.py"})
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("family: evil.py\n")
    for folder in ("model", "run"):
        with pytest.raises(DataError, match="'evil.py' .*key family.*Expected: lidar_tokenizer"):
            open_model(tmp_path / folder)
    assert not Path("executed").exists()


def test_nothing_there(tmp_path: Path):
    with pytest.raises(DataError, match="no such file or folder.*iter_N"):
        open_model(tmp_path / "none")
    with pytest.raises(DataError, match="no tokenizer in this folder"):
        open_model(tmp_path)
