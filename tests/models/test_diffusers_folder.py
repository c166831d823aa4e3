"""Folders of Diffusers models: what is read, and what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.models.diffusers_folder import check_fields, class_in, read_model, read_renamed, write_model

DEFAULTS = {"width": 8, "scale": 1.0, "kind": "haar", "sizes": [1, 2], "wide": False, "more": None}


def write(folder: Path, **fields: object) -> Path:
    (folder / "config.json").write_text(json.dumps({"_class_name": "Net", "_diffusers_version": "0.40", **fields}))
    return folder


def test_a_folder_is_written_and_read_back(tmp_path: Path):
    state = {"a.weight": torch.arange(6.0).view(2, 3)}
    files = write_model(tmp_path / "new", "Net", {"width": 2}, {"a.weight": "block.0.weight"}, state)
    assert [file.name for file in files] == ["config.json", "diffusion_pytorch_model.safetensors"]
    assert class_in(tmp_path / "new") == "Net"
    fields, weights = read_model(tmp_path / "new", "Net", DEFAULTS)
    assert fields == DEFAULTS | {"width": 2}
    back = read_renamed(weights, {"a.weight": "block.0.weight"}, "a Net")
    assert list(back) == ["a.weight"]
    assert torch.equal(back["a.weight"], state["a.weight"])


def test_a_tensor_without_a_name_is_not_dropped(tmp_path: Path):
    state = {"a": torch.zeros(1), "b.extra": torch.zeros(1)}
    with pytest.raises(UserError, match="Diffusers' Net has no place for 1 tensors: b.extra"):
        write_model(tmp_path / "new", "Net", {}, {"a": "a"}, state)
    assert not (tmp_path / "new").exists()


def test_the_first_wrong_field_is_named(tmp_path: Path):
    check_fields(DEFAULTS, tmp_path, (("width", False, "8"),))
    rules = (("width", False, "8"), ("kind", "haar", "db4"), ("scale", True, "2"))
    with pytest.raises(DataError, match=r"'haar' \[file .*key kind\] Expected: db4"):
        check_fields(DEFAULTS, tmp_path, rules)


def test_other_folders_have_no_class(tmp_path: Path):
    assert class_in(tmp_path) is None
    for text in ("", "[]", "{}", '{"_class_name": 3}', "[" * 100_000):
        (tmp_path / "config.json").write_text(text)
        assert class_in(tmp_path) is None
    assert class_in(tmp_path / "config.json") is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"_class_name": "Other"}, "a 'Other' .*key _class_name.*Expected: Net"),
        ({"gates": 4}, "unknown field: 4 .*key gates.*understood: width, scale"),
        ({"width": "8"}, "'8' .*key width.*Expected: a value such as 8"),
        ({"width": True}, "True .*key width"),
        ({"width": 10**9}, "1000000000 .*key width"),
        ({"sizes": [1, "x"]}, "key sizes"),
        ({"wide": 1}, "1 .*key wide"),
        ({"sizes": None}, "None .*key sizes"),
        ({"width": None}, "None .*key width"),
        ({"more": {"a": 1}}, "key more"),
    ],
)
def test_fields_of_another_kind_are_refused(fields: dict, message: str, tmp_path: Path):
    with pytest.raises(DataError, match=message):
        read_model(write(tmp_path, **fields), "Net", DEFAULTS)


def test_weights_that_are_not_there(tmp_path: Path):
    write(tmp_path, later=None, also=False)
    with pytest.raises(DataError, match="no safetensors file.*Expected: diffusion_pytorch_model.safetensors"):
        read_model(tmp_path, "Net", DEFAULTS)
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04N.")
    with pytest.raises(DataError, match=".bin files are not read: they are pickles"):
        read_model(tmp_path, "Net", DEFAULTS)
    save_file({"a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path / "diffusion_pytorch_model.fp16.safetensors")
    files = read_model(tmp_path, "Net", DEFAULTS)[1]
    with pytest.raises(DataError, match="1 missing: c; 1 unexpected: b"):
        read_renamed(files, {"ours": "a", "other": "c"}, "a Net")
    with pytest.raises(DataError, match="has this tensor, too"):
        read_renamed(files * 2, {"ours": "a", "other": "b"}, "a Net")


def test_a_long_configuration_is_not_read(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"_class_name": "Net", "a": "' + "x" * 1_000_001 + '"}')
    with pytest.raises(DataError, match="config.json"):
        read_model(tmp_path, "Net", DEFAULTS)
