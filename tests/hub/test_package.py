"""Folders of models: written, and opened again with the same network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.hub import from_pretrained
from cosmos_lidar.hub.opening import OpenedModel, open_model
from cosmos_lidar.hub.package import PackageOptions, license_of, public_options, write_package
from cosmos_lidar.models.wan_vae import build_vae
from cosmos_lidar.viz.images import write_png
from tests.hub.models import NETWORKS, make, same

APACHE = PackageOptions("org/name", license="apache-2.0")


@pytest.mark.parametrize("what", NETWORKS)
def test_every_family_comes_back_from_its_folder(what: str, tmp_path: Path):
    family, network = make(what)
    files = write_package(OpenedModel(network, family), tmp_path, tmp_path / "out", APACHE)
    assert [file.name for file in files] == ["model.safetensors", "config.json", "LICENSE", "README.md"]
    for path in (tmp_path / "out", tmp_path / "out" / "model.safetensors"):
        opened = open_model(path)
        assert opened.family == family
        assert opened.license == "apache-2.0"
        assert same(opened.network, network)
    if hasattr(network, "config"):
        assert opened.network.config == network.config
    assert same(from_pretrained(tmp_path / "out", family=family), network)


def test_types_of_the_weights(tmp_path: Path):
    family, network = make("video tokenizer")
    opened = OpenedModel(network, family)
    write_package(opened, tmp_path, tmp_path / "out", PackageOptions("a/b", "bfloat16", license="other"))
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as file:
        assert file.get_tensor("encoder.conv_in.0.conv3d.weight").dtype == torch.bfloat16
    again = open_model(tmp_path / "out")
    write_package(again, tmp_path, tmp_path / "again", PackageOptions("a/b"))
    same_bytes = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("out", "again")]
    assert same_bytes[0] == same_bytes[1]
    assert (tmp_path / "out" / "model.safetensors").stat().st_mode == (tmp_path / "out" / "README.md").stat().st_mode
    back = again.network
    weight = network.get_parameter("encoder.conv_in.0.conv3d.weight")
    assert torch.equal(back.get_parameter("encoder.conv_in.0.conv3d.weight"), weight.bfloat16().float())
    weight.data[0] = 1e5
    with pytest.raises(UserError, match=r"--dtype float16: encoder.conv_in.0.conv3d.weight has values beyond it"):
        write_package(opened, tmp_path, tmp_path / "half", PackageOptions("a/b", "float16", license="other"))
    assert not (tmp_path / "half").exists()


def test_card_picture_and_license(tmp_path: Path):
    family, network = make("video tokenizer")
    write_png(tmp_path / "shown.png", np.full((40, 60, 3), 200, np.uint8))
    (tmp_path / "terms.txt").write_text("Ask first.")
    results = {"data": "/home/me/drives", "mean": {"psnr": {"mean": 31.5, "interval_95": None}}, "protocol": {"a": 1}}
    (tmp_path / "metrics.json").write_text(json.dumps(results))
    options = PackageOptions(
        "org/name", license="other", license_file=tmp_path / "terms.txt", metrics=[tmp_path / "metrics.json"],
        preview=tmp_path / "shown.png", summary="Trained on rain.",
    )  # fmt: skip
    write_package(OpenedModel(network, family), tmp_path, tmp_path / "out", options)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Trained on rain." in card
    assert "| psnr | 31.5 |" in card
    assert "/home/me" not in card
    assert (tmp_path / "out" / "preview.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert (tmp_path / "out" / "LICENSE").read_text() == "Ask first."
    write_package(OpenedModel(network, family), tmp_path, tmp_path / "out", APACHE)  # the same folder once more
    assert not (tmp_path / "out" / "preview.jpg").exists()
    assert "Apache License" in (tmp_path / "out" / "LICENSE").read_text()


def test_folders_with_other_files_are_left_alone(tmp_path: Path):
    family, network = make("video tokenizer")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "README.md").write_text("mine")
    for name in ("README.md", "thesis.tex"):
        (tmp_path / "out" / name).write_text("mine")
        with pytest.raises(UserError, match=f"out: has other files \\({name}\\)"):
            write_package(OpenedModel(network, family), tmp_path, tmp_path / "out", APACHE)
    assert (tmp_path / "out" / "README.md").read_text() == "mine"


def test_what_cannot_be_read_is_refused_before_anything_is_written(tmp_path: Path):
    opened = OpenedModel(make("video tokenizer")[1], "video_tokenizer")
    (tmp_path / "no.png").write_text("no picture")
    for options, message in (
        (PackageOptions("a/b", license="mit", preview=tmp_path / "no.png"), "no.png.*Expected: a PNG"),
        (PackageOptions("a/b", license="mit", preview=tmp_path / "none.png"), "no such file.*none.png"),
        (
            PackageOptions("a/b", license="mit", license_file=tmp_path / "none"),
            "none.*Expected: the text of the license",
        ),
        (PackageOptions("a/b", license="mit", metrics=[tmp_path / "none.json"]), "no such file.*none.json"),
    ):
        with pytest.raises(DataError, match=message):
            write_package(opened, tmp_path, tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def test_a_license_is_taken_where_it_is_known():
    network = make("video tokenizer")[1]
    run = {"family": "dit", "model": {"checkpoint": ""}}
    assert license_of(OpenedModel(network, "dit", run), "") == "apache-2.0"
    assert license_of(OpenedModel(network, "dit", run), "MIT") == "mit"
    for embedded in ("small", "cosmos_lidar/small-thing"):
        assert license_of(OpenedModel(network, "dit", {"model": {"checkpoint": embedded}}), "") == "apache-2.0"
    with pytest.raises(UserError, match="--license: these weights come from elsewhere"):
        license_of(OpenedModel(network, "dit", {"model": {"name": "without the place of a file"}}), "")
    assert license_of(OpenedModel(network, "dit", license="openrail"), "") == "openrail"
    with pytest.raises(UserError, match="--license: training started from model.pt"):
        license_of(OpenedModel(network, "dit", {"model": {"checkpoint": "/data/model.pt"}}), "")
    with pytest.raises(UserError, match="--license: these weights come from elsewhere"):
        license_of(OpenedModel(network, "dit"), "")


def test_options_are_published_without_places_of_files():
    options = {
        "family": "dit", "log": {"root": "runs"}, "model": {"checkpoint": "/data/a.pt", "name": "x", "none": None},
        "data": {"path": "a/b", "lists": ["/x"], "sizes": [1, 2], "cameras": ["front"]},
    }  # fmt: skip
    assert public_options(options) == {
        "family": "dit", "model": {"name": "x", "none": None}, "data": {"sizes": [1, 2], "cameras": ["front"]},
    }  # fmt: skip


def test_a_vae_with_statistics_of_its_own_is_refused(tmp_path: Path):
    vae = build_vae("wan2_1", dim=4, latent_mean=(0.0,) * 16)
    with pytest.raises(UserError, match="--format diffusers"):
        write_package(OpenedModel(vae, "multiview"), tmp_path, tmp_path / "out", APACHE)
