"""Catalog of embedded models: names, sizes, cards, and how options name them."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import pytest
import torch

from cosmos_lidar import weights
from cosmos_lidar.commands._arguments import weights_file, weights_name
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.lidar_tokenizer.config import LidarTokenizerTrainConfig
from cosmos_lidar.families.lidar_tokenizer.job import make_network
from cosmos_lidar.models.tokenizer import Tokenizer, build_tokenizer
from cosmos_lidar.models.tokenizer.pretrained import from_pretrained
from cosmos_lidar.training.overrides import config_beside, load_config
from tests.weights.embedded import embed

ROOT = Path(__file__).parents[2]
LARGEST = 24e6  # bytes of all of them
HEADINGS = ("Data", "Training", "Metrics", "License", "Limits")
NAMES = (
    "small-backbone",
    "small-image-tokenizer",
    "small-lidar-tokenizer",
    "small-lidargen",
    "small-multiview",
    "small-multiview-vae",
    "small-semseg",
)


@pytest.fixture
def network() -> Tokenizer:
    torch.manual_seed(3)
    return build_tokenizer("CI8x8", channels=32, num_res_blocks=1, z_channels=16)


def test_the_package_has_no_other_folders_than_whole_models() -> None:
    folders = sorted(path for path in weights.FOLDER.iterdir() if path.is_dir() and path.name != "__pycache__")
    assert [path.name for path in folders] == weights.names()
    assert tuple(weights.names()) == NAMES
    for folder in folders:
        assert {path.name for path in folder.iterdir()} == {weights.FILE, weights.CONFIG, weights.CARD}
    assert sum(file.stat().st_size for folder in folders for file in folder.iterdir()) <= LARGEST


def test_the_documentation_lists_every_model() -> None:
    text = (ROOT / "docs" / "hub.md").read_text(encoding="utf-8")
    section = text.split("## Embedded models")[1].split("\n## ")[0]
    assert tuple(sorted(re.findall(r"^\| `(small-[a-z-]+)` \|", section, re.MULTILINE))) == NAMES


@pytest.mark.parametrize("name", weights.names())
def test_a_card_is_complete(name: str) -> None:
    from safetensors import safe_open

    folder = weights.find(name)
    card = (folder / weights.CARD).read_text(encoding="utf-8")
    assert set(HEADINGS) <= set(re.findall(r"^## (.+)$", card, re.MULTILINE))
    for fact in ("seed", "steps", "CPU", "commit", "held-out", "Apache-2.0", f"{weights.PREFIX}{name}"):
        assert fact in card, f"{name}: the card lacks {fact!r}"
    scripts = re.findall(r"`(?:python )?((?:benchmarks|recipes|cosmos_lidar)/[\w/]+\.py)", card)
    assert scripts
    assert all((ROOT / script).is_file() for script in scripts)
    config = weights.config_of(folder)
    assert (ROOT / "cosmos_lidar" / "families" / config["family"]).is_dir()
    with safe_open(folder / weights.FILE, "pt") as file:
        kinds = {str(file.get_tensor(key).dtype) for key in file.keys() if file.get_tensor(key).is_floating_point()}
    assert f"torch.{config['dtype']}" in kinds
    assert kinds <= {f"torch.{config['dtype']}", "torch.float32"}
    assert config["dtype"] in ("bfloat16", "float16")


def test_a_wheel_has_them() -> None:
    import configparser

    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    globs = setup["options.package_data"]["cosmos_lidar"].split()
    assert {f"weights/*/{file}" for file in (weights.FILE, weights.CONFIG, weights.CARD)} <= set(globs)


def test_names_are_found_and_others_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, network: Tokenizer
) -> None:
    folder = embed(monkeypatch, tmp_path / "catalog", "small-lidar-tokenizer", network)
    embed(monkeypatch, tmp_path / "catalog", "small-image-tokenizer", network)
    (tmp_path / "catalog" / "half-written").mkdir()
    assert weights.names() == ["small-image-tokenizer", "small-lidar-tokenizer"]
    assert weights.find("small-lidar-tokenizer") == weights.find("cosmos_lidar/small-lidar-tokenizer") == folder
    valid = "valid: small-image-tokenizer, small-lidar-tokenizer"
    for wrong in ("small", "large-lidar-tokenizer", "cosmos_lidar/half-written", "../catalog"):
        with pytest.raises(UserError, match=valid):
            weights.find(wrong)


def test_values_of_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, network: Tokenizer) -> None:
    folder = embed(monkeypatch, tmp_path / "catalog", "small-lidar-tokenizer", network)
    file = str(folder / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    assert weights.file_of("small", "small-lidar-tokenizer") == file
    assert weights.file_of("cosmos_lidar/small-lidar-tokenizer", "small-backbone") == file
    for other in ("", "nvidia/Cosmos-Tokenizer-CI8x8", "runs/small/model.pt"):
        assert weights.file_of(other, "small-lidar-tokenizer") == other
    assert weights_file("small-lidar-tokenizer")("small") == Path(file)
    with pytest.raises(argparse.ArgumentTypeError, match="'small-backbone'; valid: small-lidar-tokenizer"):
        weights_name("small-backbone")("small")
    (tmp_path / "small").mkdir()  # a folder of the user comes first
    assert weights.file_of("small", "small-lidar-tokenizer") == "small"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("smalll", "small"),
        ("small-lidar-tokenizer", "cosmos_lidar/small-lidar-tokenizer"),
        ("cosmos_lidar/small-lidar-tokeniser", "valid: .*small-lidar-tokenizer"),
    ],
)
def test_misspelled_names_of_embedded_models(given: str, meant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=f"{given}.*{meant}"):
        weights.file_of(given, "small-lidar-tokenizer")
    if "/" not in given:
        monkeypatch.setattr(Path, "exists", lambda self: str(self) == given)
        assert weights.file_of(given, "small-lidar-tokenizer") == given  # the user has a file of that name


def test_names_for_readers(tmp_path: Path) -> None:
    assert weights.name_of(weights.find("small-semseg") / weights.FILE) == "small-semseg"
    assert weights.name_of(tmp_path / "iter_000000030_semseg.safetensors") == "iter_000000030_semseg.safetensors"


def test_the_folder_of_a_model_means_its_weights(tmp_path: Path) -> None:
    assert weights.file_of(str(tmp_path), "small-backbone") == str(tmp_path)
    (tmp_path / weights.FILE).touch()
    assert weights.file_of(str(tmp_path), "small-backbone") == str(tmp_path)  # of another program
    (tmp_path / weights.CONFIG).touch()
    assert weights.file_of(str(tmp_path), "small-backbone") == str(tmp_path / weights.FILE)


def test_a_network_and_a_training_start_from_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, network: Tokenizer
) -> None:
    embed(monkeypatch, tmp_path, "small-lidar-tokenizer", network)
    run = LidarTokenizerTrainConfig()
    run.model.checkpoint = "small"
    for loaded in (from_pretrained("cosmos_lidar/small-lidar-tokenizer"), make_network(run)):
        own = loaded.state_dict()
        assert all(torch.equal(own[key], value) for key, value in network.state_dict().items())
    with pytest.raises(UserError, match="valid: small-lidar-tokenizer"):
        from_pretrained("cosmos_lidar/small-nothing")


def test_options_of_a_run_in_a_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, network: Tokenizer) -> None:
    options = {"trainer": {"max_steps": 7}, "optim": {"lr": 1e-05}}
    folder = embed(monkeypatch, tmp_path, "small-lidar-tokenizer", network, {"run": options})
    beside = config_beside(folder / weights.FILE)
    assert beside == folder / weights.CONFIG
    run = load_config(LidarTokenizerTrainConfig, beside)
    assert (run.trainer.max_steps, run.optim.lr) == (7, 1e-05)
    (folder / "config.yaml").write_text("trainer: {max_steps: 9}\n", encoding="utf-8")
    assert config_beside(folder / weights.FILE) == folder / "config.yaml"
    assert config_beside(tmp_path / "elsewhere" / "model.pt") is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [("{", "not readable"), ("[]", "holds a list"), ('{"family": 3}', "3 .*key family"), ('{"family": "a"}', "dtype")],
)
def test_damaged_configs(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=problem):
        weights.config_of(tmp_path)
    assert weights.config_of(tmp_path / "none" / "model.pt") == {}


def test_a_config_without_a_run(tmp_path: Path) -> None:
    facts = {"family": "lidargen", "dtype": "bfloat16", "license": "Apache-2.0"}
    (tmp_path / "config.json").write_text(json.dumps(facts), encoding="utf-8")
    assert config_beside(tmp_path / "model.safetensors") is None
    with pytest.raises(DataError, match=r"no options of a training run .*key run"):
        load_config(LidarTokenizerTrainConfig, tmp_path / "config.json")
